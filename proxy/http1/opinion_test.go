package http1_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"portico/proxy/exchange/exchangetest/table"
	"portico/proxy/http1"
)

// opinion is what a parser makes of a stream of messages: those that it takes, then whether it refuses what follows.
type opinion struct {
	taken   []string
	refused string // why; "": the input ended
}

// TestSecondOpinion holds the parser beside the standard library's, for every request and answer of the table. What we take, it must take
// and understand alike. Where it takes what we refuse, the row says why we are stricter.
func TestSecondOpinion(t *testing.T) {
	for _, c := range table.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if c.Laxer != "" {
				laxer(t, c)
				return
			}
			stricter := compare(t, "request", ourRequests(strings.Join(c.Send, "")), theirRequests(strings.Join(c.Send, "")))
			methods := c.Methods()
			for i, a := range c.Answer {
				a = strings.TrimSuffix(strings.TrimSuffix(a, "<close>"), "<reset>")
				method := http.MethodGet
				if i < len(methods) {
					method = methods[i]
				}
				stricter = compare(t, "answer", ourAnswers(a, method), theirAnswers(a, method)) || stricter
			}
			if stricter != (c.Stricter != "") {
				t.Errorf("we are stricter: %v; the row says %q", stricter, c.Stricter)
			}
		})
	}
}

// laxer holds a row to what it says: net/http refuses the request or an answer.
func laxer(t *testing.T, c table.Case) {
	t.Helper()
	if theirRequests(strings.Join(c.Send, "")).refused != "" {
		return
	}
	for _, a := range c.Answer {
		if theirAnswers(a, http.MethodGet).refused != "" {
			return
		}
	}
	t.Error("net/http takes all of it: the row needs no word on that")
}

// compare reports whether we refuse what the standard library takes.
func compare(t *testing.T, what string, ours, theirs opinion) (stricter bool) {
	t.Helper()
	for i, m := range ours.taken {
		if i >= len(theirs.taken) {
			t.Fatalf("%s %d: we take %.300q, net/http refuses it: %s", what, i+1, m, theirs.refused)
		}
		if m != theirs.taken[i] {
			t.Fatalf("%s %d: we read %.300q, net/http reads %.300q", what, i+1, m, theirs.taken[i])
		}
	}
	if ours.refused == "" && theirs.refused != "" {
		t.Fatalf("%s: net/http refuses what we wait for the end of: %s", what, theirs.refused)
	}
	return ours.refused != "" && (len(theirs.taken) > len(ours.taken) || theirs.refused == "")
}

// said brings a message into the form that opinions are compared in.
func said(start, host, framing, body string, trailers int) string {
	return fmt.Sprintf("%s | %s | %s | %d trailers | %s", start, strings.ToLower(host), framing, trailers, body)
}

func framing(length int64, chunked bool) string {
	switch {
	case chunked:
		return "chunked"
	case length > 0:
		return fmt.Sprint("length ", length)
	}
	return "none"
}

func ourRequests(raw string) (o opinion) {
	in := []byte(raw)
	for empty := 0; ; {
		if len(in) >= 2 && string(in[:2]) == "\r\n" { // RFC 9112, 2.2
			if empty++; empty > 2 {
				o.refused = "empty lines"
				return o
			}
			in = in[2:]
			continue
		}
		end, _, fault := http1.ScanHead(in, 0)
		var r http1.Request
		switch {
		case fault == http1.NoFault && end == 0 && len(in) > limits.Line && !strings.Contains(string(in), "\n"):
			fault = http1.FaultLineLong
		case fault == http1.NoFault && end > limits.Head:
			fault = http1.FaultHeadLong
		case fault == http1.NoFault && end == 0:
			return o
		case fault == http1.NoFault:
			fault = http1.ParseRequest(&r, in[:end], &limits)
		}
		if fault != http1.NoFault {
			o.refused = fault.Error()
			return o
		}
		body, trailers, rest, fault, done := ourBody(in[end:], r.Length, r.Chunked, false)
		if fault != http1.NoFault {
			o.refused = fault.Error()
			return o
		}
		if !done {
			return o
		}
		o.taken = append(o.taken, said(string(r.Method)+" "+string(r.Path)+"?"+string(r.Query), string(r.Host), framing(r.Length, r.Chunked), body, trailers))
		in, empty = rest, 0
		if !r.KeepAlive || r.Upgrade() != nil {
			return o
		}
	}
}

// ourBody reads a body. untilEnd: without a length it goes on to the end of the connection.
func ourBody(in []byte, length int64, chunked, untilEnd bool) (body string, trailers int, rest []byte, fault http1.Fault, done bool) {
	switch {
	case chunked:
		data, trailer, rest, fault, done := decode(in, 1<<20)
		if done {
			if _, fault = http1.AppendTrailers(nil, &http1.Head{}, trailer, &limits); fault != http1.NoFault {
				done = false
			}
		}
		return string(data), strings.Count(string(trailer), ":"), rest, fault, done
	case length >= 0 && int64(len(in)) < length:
		return "", 0, nil, http1.NoFault, false
	case length >= 0:
		return string(in[:length]), 0, in[length:], http1.NoFault, true
	case untilEnd:
		return string(in), 0, nil, http1.NoFault, true
	}
	return "", 0, in, http1.NoFault, true
}

func theirRequests(raw string) (o opinion) {
	br := bufio.NewReader(strings.NewReader(raw))
	for {
		for { // net/http reads no empty line before a request, against RFC 9112, 2.2
			if b, _ := br.Peek(2); string(b) != "\r\n" {
				break
			}
			_, _ = br.Discard(2)
		}
		r, err := http.ReadRequest(br)
		if ended(err) {
			return o
		}
		if err != nil {
			o.refused = err.Error()
			return o
		}
		body, err := io.ReadAll(r.Body)
		if ended(err) {
			return o
		}
		if err != nil {
			o.refused = err.Error()
			return o
		}
		path := r.URL.EscapedPath()
		if strings.HasPrefix(r.RequestURI, "/") {
			path, _, _ = strings.Cut(r.RequestURI, "?")
		}
		trailers := 0
		for _, v := range r.Trailer {
			trailers += len(v)
		}
		o.taken = append(o.taken, said(r.Method+" "+path+"?"+r.URL.RawQuery, r.Host, framing(r.ContentLength, len(r.TransferEncoding) > 0), string(body), trailers))
		if r.Close || r.Header.Get("Upgrade") != "" {
			return o
		}
	}
}

// ended reports whether the input was over before the message was.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func ourAnswers(raw, method string) (o opinion) {
	in := []byte(raw)
	for {
		end, _, fault := http1.ScanHead(in, 0)
		var r http1.Response
		switch {
		case fault == http1.NoFault && (end > limits.ResponseHead || end == 0 && len(in) > limits.ResponseHead):
			fault = http1.FaultHeadLong
		case fault == http1.NoFault && end == 0:
			return o
		case fault == http1.NoFault:
			fault = http1.ParseResponse(&r, in[:end], &limits)
		}
		if fault != http1.NoFault {
			o.refused = fault.Error()
			return o
		}
		none := method == http.MethodHead || r.Status < 200 || r.Status == 204 || r.Status == 304
		length, chunked := r.Length, r.Chunked
		if none {
			length, chunked = 0, false
		}
		body, trailers, rest, fault, done := ourBody(in[end:], length, chunked, true)
		if fault != http1.NoFault {
			o.refused = fault.Error()
			return o
		}
		if !done {
			return o
		}
		o.taken = append(o.taken, said(fmt.Sprint(r.Status), "", framing(length, chunked), body, trailers))
		in = rest
		if r.Status >= 200 || r.Status == 101 {
			return o // what follows belongs to no request
		}
	}
}

func theirAnswers(raw, method string) (o opinion) {
	br := bufio.NewReader(strings.NewReader(raw))
	for {
		r, err := http.ReadResponse(br, &http.Request{Method: method})
		if ended(err) {
			return o
		}
		if err != nil {
			o.refused = err.Error()
			return o
		}
		body, err := io.ReadAll(r.Body)
		if ended(err) {
			return o
		}
		if err != nil {
			o.refused = err.Error()
			return o
		}
		length := r.ContentLength
		if method == http.MethodHead || r.StatusCode < 200 || r.StatusCode == 204 || r.StatusCode == 304 {
			length = 0
		}
		trailers := 0
		for _, v := range r.Trailer {
			trailers += len(v)
		}
		o.taken = append(o.taken, said(fmt.Sprint(r.StatusCode), "", framing(length, len(r.TransferEncoding) > 0), string(body), trailers))
		if r.StatusCode >= 200 || r.StatusCode == 101 {
			return o
		}
	}
}
