package origins

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"portico/proxy/exchange/exchangetest/rig"
)

// withTrailers answers "/counted" with a length and trailers, of which one may not travel, "/none" with trailers behind no body, "/void"
// with no more than a head, and everything else without a length or trailers.
func withTrailers(w http.ResponseWriter, r *http.Request) {
	w.Header()["Date"] = nil
	switch r.URL.Path {
	case "/void":
		return
	case "/none":
		w.Header().Set("Content-Length", "0")
		w.Header().Set("Trailer", "X-Sum")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "7")
		return
	}
	if r.URL.Path != "/counted" {
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "plain")
		return
	}
	w.Header().Set("Content-Length", "5")
	w.Header().Set("Trailer", "X-Sum")
	_, _ = io.WriteString(w, "hello")
	w.Header().Set("X-Sum", "7")
	w.Header().Set(http.TrailerPrefix+"Expires", "0")
}

// countedTrailers: behind an answer with a length, trailers reach every client that can have them: of HTTP/2, and of HTTP/1.1 those that
// say so, in chunks. Others get the length and no trailers, on this answer as on the next one.
func countedTrailers(t *testing.T, mk rig.Maker) {
	h := with(newMulti(t, withTrailers, 0, nil))
	c, _ := rig.StartH2(t, mk, rig.Options(h), rig.H2Settings{})
	for range 2 {
		got := c.Open(true, "GET /counted").Over()
		if got.Body != "hello" || got.Trailers != "x-sum: 7\n" || !got.Ended || !strings.Contains(got.Head, "content-length: 5\n") {
			t.Errorf("HTTP/2: %+v", got)
		}
		if got := c.Open(true, "GET /none").Over(); got.Body != "" || got.Trailers != "x-sum: 7\n" || !got.Ended {
			t.Errorf("HTTP/2, without a body: %+v", got)
		}
		if got := c.Open(true, "GET /void").Over(); !strings.Contains(got.Head, "content-length: 0\n") || got.Trailers != "" || !got.Ended {
			t.Errorf("HTTP/2, no more than a head: %+v", got)
		}
		if got := c.Open(true, "GET /").Over(); got.Body != "plain" || got.Trailers != "" || !got.Ended {
			t.Errorf("HTTP/2, the next answer: %+v", got)
		}
	}
	addr, _ := rig.Start(t, mk, rig.Options(h))
	conn := rig.Dial(t, addr)
	br := bufio.NewReader(conn)
	answer := func() string {
		r, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got := string(b)
		if r.ContentLength >= 0 {
			got += " counted"
		}
		for name := range r.Trailer {
			got += " " + name + "=" + r.Trailer.Get(name)
		}
		return got
	}
	for range 2 {
		for fields, want := range map[string]string{"": "hello counted", "Connection: TE\r\nTE: trailers\r\n": "hello X-Sum=7"} {
			ask := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" }
			_, _ = io.WriteString(conn, ask("/counted")+ask("/")) // together: nothing is forgotten in between
			if got, next := answer(), answer(); got != want || next != "plain" {
				t.Errorf("HTTP/1.1 %q: got %q, want %q; then %q", fields, got, want, next)
			}
			_, _ = io.WriteString(conn, ask("/none")+ask("/void"))
			if got, next := answer(), answer(); got != strings.TrimPrefix(want, "hello") || next != " counted" {
				t.Errorf("HTTP/1.1 %q without a body: got %q, want %q without hello; then %q", fields, got, want, next)
			}
		}
	}
	if got := rig.Exchange(t, addr, "GET /counted HTTP/1.0\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\nhello") {
		t.Errorf("HTTP/1.0: %q", got)
	}
}
