package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"portico/proxy"
)

// A lame duck goes on with every connection that it has: one that was used
// before and one that has not said anything yet get one more answer, which says that it is the last; a
// WebSocket is opened and lives on; over HTTP/2 the answer comes with a GOAWAY. Who connects from
// then on reaches whoever else has the socket.
func TestLameDuck(t *testing.T) {
	var shared net.Listener // the plain one, as its next owner has it
	o, pool := tlsOptions(t, "shop.test")
	o.Listen = func(_, address string) (net.Listener, error) {
		l, err := net.Listen("tcp", address)
		if err != nil || shared != nil {
			return l, err
		}
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Skipf("sockets are not shared here: %v", err)
		}
		defer file.Close()
		shared, err = net.FileListener(file)
		return l, err
	}
	o.HasCertificate = nil
	f := start(t, o, site(webSocketServer(t, "u0")))
	defer func() { _ = shared.Close() }()

	used, silent, socket := dial(t, f.http), dial(t, f.http), dial(t, f.http)
	get := "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"
	read := bufio.NewReader(used)
	if _, err := io.WriteString(used, get); err != nil {
		t.Fatal(err)
	}
	if r := answer(t, read); r.Close {
		t.Error("before, an answer says that it is the last")
	}
	h2 := dialH2(t, f.tls, pool)
	h2.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	status, goaway := h2.ask(1)
	if status != "200" || goaway {
		t.Errorf("over HTTP/2, before: %s, GOAWAY %t", status, goaway)
	}
	f.eventually("all are accepted", func() bool { return f.Snapshot().Frontends[0].Conns == 3 })

	left, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.LameDuck(left) }()
	defer func() { cancel(); <-done }()
	go successor(shared)
	f.eventually("the other owner of the socket accepts", func() bool {
		c := dial(t, f.http)
		defer c.Close()
		_, _ = io.WriteString(c, get)
		first := make([]byte, len("successor"))
		_, err := io.ReadFull(c, first)
		return err == nil && string(first) == "successor"
	})
	for _, c := range []net.Conn{used, silent} {
		_, _ = io.WriteString(c, get)
		br := bufio.NewReader(c)
		if r := answer(t, br); !r.Close || r.StatusCode != http.StatusOK {
			t.Errorf("the last answer is %s, close %t", r.Status, r.Close)
		}
		if _, err := br.ReadByte(); err != io.EOF {
			t.Errorf("behind the last answer: %v", err)
		}
	}
	_, _ = io.WriteString(socket, "GET / HTTP/1.1\r\n"+upgradeHead+"\r\n")
	br := bufio.NewReader(socket)
	until(t, br, "hello from u0")
	_, _ = io.WriteString(socket, "one\n")
	until(t, br, "echo one")

	if status, goaway = h2.ask(3); status != "200" {
		t.Errorf("over HTTP/2: %q", status)
	}
	for !goaway { // the answer asks for it, and does not wait for it
		frame, err := h2.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY: %v", err)
		}
		_, goaway = frame.(*http2.GoAwayFrame)
	}
	_ = h2.conn.Close()
	select {
	case <-done:
		t.Error("it has left a WebSocket behind")
	default:
	}
	_ = socket.Close()
	<-done
}

// successor accepts what comes to a socket that it has as well.
func successor(l net.Listener) {
	for c, err := l.Accept(); err == nil; c, err = l.Accept() {
		_, _ = bufio.NewReader(c).ReadString('\n')
		_, _ = io.WriteString(c, "successor")
		_ = c.Close()
	}
}

// ask sends a request and returns the status of its answer, and whether a GOAWAY came by then.
func (r *rawH2) ask(id uint32) (status string, goaway bool) {
	if err := r.request(id, true, true); err != nil {
		return err.Error(), false
	}
	for {
		frame, err := r.ReadFrame()
		if err != nil {
			return err.Error(), goaway
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			goaway = true
		case *http2.MetaHeadersFrame:
			status = frame.PseudoValue("status")
		}
		if h := frame.Header(); h.StreamID == id && h.Flags.Has(http2.FlagDataEndStream) && (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) {
			return status, goaway
		}
	}
}

// answer reads one answer with its body.
func answer(t *testing.T, br *bufio.Reader) *http.Response {
	t.Helper()
	r, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	return r
}

// A server that is told to stop before it has begun ends all the same, whichever of the two comes first.
func TestShutdownBesideServe(t *testing.T) {
	for range 50 {
		s, err := proxy.New(options())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Listen(); err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background()) }()
		ctx, cancel := context.WithTimeout(t.Context(), waitTime)
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}
