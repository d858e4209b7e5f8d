package proxy_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"portico/proxy/exchange/exchangetest/rig"
	"portico/proxy/exchange/exchangetest/table"
)

// TestExchangesHTTP2 runs the rows of the table that can be said in HTTP/2, one stream for each request, with every engine.
func TestExchangesHTTP2(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			for _, c := range table.Cases {
				if c.NoH2 != "" { // why it has no form in HTTP/2, which the table says
					continue
				}
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					o := rig.NewOrigin(t, func(n int, _ string, conn net.Conn) bool { return rig.Script(c.Answer, n, conn) })
					opt, pool := tlsOptions(t, "a", "early", "shop")
					opt.Conf.Engine = engine
					f := start(t, opt, exchangeSites(o.Addr())...)
					got, reset := h2Exchange(t, f.tls, pool, table.Requests(strings.Join(c.Send, "")))
					holds(t, withoutConnection(c), c.H2, func(c table.Case) []string {
						return c.Differ(slices.Clone(got), reset, o.Requests())
					})
				})
			}
		})
	}
}

// h2Exchange sends the requests one after the other and returns their answers, until a stream or the connection is reset.
func h2Exchange(t *testing.T, addr string, pool *x509.CertPool, requests []table.Message) (got []table.Message, reset bool) {
	t.Helper()
	name, _, _ := strings.Cut(authority(requests[0]), ":")
	if name != "early" && name != "shop" {
		name = "a"
	}
	c := newH2(t, addr, pool, name)
	for _, r := range requests {
		answers, reset := c.do(r)
		got = append(got, answers...)
		if reset {
			return got, true
		}
	}
	return got, false
}

func authority(r table.Message) string {
	for _, f := range r.Fields {
		if v, ok := strings.CutPrefix(f, "Host: "); ok {
			return v
		}
	}
	return ""
}

// h2 is a client that sends what it is told to, sound or not.
type h2 struct {
	t      *testing.T
	fr     *http2.Framer
	next   uint32 // stream
	room   int    // of the connection's window
	stream int    // of a new stream's
}

func newH2(t *testing.T, addr string, pool *x509.CertPool, name string) *h2 {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: name, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	c := &h2{t: t, fr: http2.NewFramer(conn, conn), next: 1, room: 65535, stream: 65535}
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1 << 20})
	_ = c.fr.WriteWindowUpdate(0, 1<<30)
	return c
}

// ask sends a head and returns the status of the answer, or the code of the reset.
func (c *h2) ask(fields ...string) string {
	id := c.next
	c.next += 2
	c.headers(id, fields, true)
	for {
		frame, err := c.fr.ReadFrame()
		if err != nil {
			c.t.Fatal(err)
		}
		if frame.Header().StreamID != id {
			continue
		}
		switch f := frame.(type) {
		case *http2.RSTStreamFrame:
			return f.ErrCode.String()
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		}
	}
}

// do sends one request and reads until its stream ends.
func (c *h2) do(r table.Message) (got []table.Message, reset bool) {
	id := c.next
	c.next += 2
	method, _, _ := strings.Cut(r.Start, " ")
	body, room := []byte(r.Body), c.stream
	plain := len(body) == 0 && len(r.Trailers) == 0 && !r.Cut()
	c.headers(id, h2Fields(r), plain)
	sent := plain
	var m table.Message
	for {
		for !sent && (len(body) == 0 || room > 0 && c.room > 0) {
			n := min(len(body), room, c.room, 16<<10)
			last := n == len(body) && !r.Cut()
			_ = c.fr.WriteData(id, last && len(r.Trailers) == 0, body[:n])
			body, room, c.room = body[n:], room-n, c.room-n
			if sent = len(body) == 0; last && len(r.Trailers) > 0 {
				c.headers(id, r.Trailers, true)
			}
		}
		frame, err := c.fr.ReadFrame()
		if err != nil {
			return got, true
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
				room, c.stream = room+int(v)-c.stream, int(v)
			}
			if !f.IsAck() {
				_ = c.fr.WriteSettingsAck()
			}
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 {
				c.room += int(f.Increment)
			} else if f.StreamID == id {
				room += int(f.Increment)
			}
		case *http2.MetaHeadersFrame:
			if m.Start != "" {
				m.Trailers = regular(f)
			} else {
				status, _ := strconv.Atoi(f.PseudoValue("status"))
				m.Start, m.Fields = fmt.Sprint("HTTP/1.1 ", status), regular(f)
				if !table.Bodiless(method, status) { // as the table's messages: framing does not count
					m.Fields = slices.DeleteFunc(m.Fields, func(f string) bool { return strings.HasPrefix(f, "Content-Length: ") })
				}
			}
			if m.Start < "HTTP/1.1 2" {
				got, m = append(got, m), table.Message{}
			}
		case *http2.DataFrame:
			m.Body += string(f.Data())
		case *http2.RSTStreamFrame:
			if f.StreamID == id && f.ErrCode != http2.ErrCodeNo {
				return got, true
			}
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo || f.LastStreamID < id {
				return got, true
			}
		}
		if h := frame.Header(); h.StreamID == id && h.Flags.Has(http2.FlagDataEndStream) && (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) {
			return append(got, m), false
		}
	}
}

// headers writes a block of fields, in as many frames as it needs.
func (c *h2) headers(id uint32, fields []string, end bool) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range fields {
		i := strings.Index(f[1:], ": ") + 1
		_ = enc.WriteField(hpack.HeaderField{Name: strings.ToLower(f[:i]), Value: f[i+2:]})
	}
	first := block.Next(16 << 10)
	_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: block.Len() == 0})
	for block.Len() > 0 {
		_ = c.fr.WriteContinuation(id, block.Len() <= 16<<10, block.Next(16<<10))
	}
}

// h2Fields are a request's fields in HTTP/2. The target is all between the method and the version, whatever is in it.
func h2Fields(r table.Message) []string {
	method, target, _ := strings.Cut(r.Start, " ")
	target = target[:strings.LastIndexByte(target, ' ')]
	out := []string{":method: " + method}
	if method != "CONNECT" {
		out = append(out, ":scheme: https", ":path: "+target)
	}
	for _, f := range r.Fields {
		if v, ok := strings.CutPrefix(f, "Host: "); ok {
			out = slices.Insert(out, 1, ":authority: "+v)
			continue
		}
		out = append(out, f)
	}
	for _, n := range r.Lengths {
		out = append(out, "content-length: "+n)
	}
	return out
}

// regular are the fields of a block in the table's words.
func regular(f *http2.MetaHeadersFrame) (out []string) {
	for _, h := range f.RegularFields() {
		out = append(out, textproto.CanonicalMIMEHeaderKey(h.Name)+": "+h.Value)
	}
	slices.Sort(out)
	return out
}

// withoutConnection is the row without what HTTP/2 never says.
func withoutConnection(c table.Case) table.Case {
	for _, f := range []string{"Connection: close\r\n", "Connection: keep-alive\r\n"} {
		c.Client = strings.ReplaceAll(c.Client, f, "")
	}
	return c
}
