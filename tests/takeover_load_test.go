package tests

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"portico/tests/harness"
)

// pace is the pause of a visitor between two requests: short enough for some of all of them to be
// under way at each moment of a take-over, and long enough for everything else on a small machine, where
// a request takes milliseconds of the processor with the race detector.
const pace = 60 * time.Millisecond

// load is visitors of every kind, who never stop. None of them forgives: a request is not repeated, and
// each answer must come from where the visitor was, with a counter that grew by one.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	kinds  []*kind

	mu     sync.Mutex
	errors []string // guarded by mu, the first ones
	failed atomic.Int64
}

// kind is one of them.
type kind struct {
	name string
	done atomic.Int64 // requests
}

// startLoad begins. Visitors come one after the other: a proxy takes first requests that come from
// one address at once for those of one visitor.
func startLoad(t *testing.T, p *harness.Proxy, roots *x509.CertPool) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	t.Cleanup(func() { cancel(); l.wg.Wait() })
	plain := func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, "tcp", p.HTTP)
	}
	secure := func(ctx context.Context) (net.Conn, error) {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: time.Minute}, Config: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
		return d.DialContext(ctx, "tcp", p.HTTPS)
	}
	for range 2 {
		l.add(ctx, "kept connections", (&strict{dial: plain, host: "node.test"}).visit)
		l.add(ctx, "new connections", (&strict{dial: plain, host: "node.test", fresh: true}).visit)
		l.add(ctx, "kept TLS connections", (&strict{dial: secure, host: "localhost"}).visit)
		l.add(ctx, "new TLS connections", (&strict{dial: secure, host: "localhost", fresh: true}).visit)
		l.add(ctx, "HTTP/2", newMultiplexed(t, p, roots).visit)
		l.add(ctx, "uploads", (&strict{dial: plain, host: "node.test"}).upload)
		l.add(ctx, "WebSockets", (&strict{dial: plain, host: "node.test"}).socket)
	}
	l.goesOn(t)
	return l
}

// add lets one visitor begin.
func (l *load) add(ctx context.Context, name string, request func(context.Context) error) {
	k := &kind{name: name}
	l.kinds = append(l.kinds, k)
	first := make(chan struct{})
	came := sync.OnceFunc(func() { close(first) })
	l.wg.Go(func() {
		defer came()
		for {
			if err := request(context.WithoutCancel(ctx)); err != nil {
				l.fail(name + ": " + err.Error())
				return // what it would count from here on is of no use
			}
			k.done.Add(1)
			came()
			select {
			case <-ctx.Done():
				return
			case <-time.After(pace):
			}
		}
	})
	<-first
}

func (l *load) fail(text string) {
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors = append(l.errors, text)
}

// goesOn waits until each visitor has had two more answers, so that one of them was
// asked for after this call.
func (l *load) goesOn(t *testing.T) {
	t.Helper()
	before := make([]int64, len(l.kinds))
	for i, k := range l.kinds {
		before[i] = k.done.Load()
	}
	harness.Eventually(t, time.Minute, func() error {
		l.report(t)
		for i, k := range l.kinds {
			if k.done.Load() < before[i]+2 {
				return errf("%s: %d requests, then no more", k.name, k.done.Load())
			}
		}
		return nil
	})
}

// report ends the test if a request has failed.
func (l *load) report(t *testing.T) {
	t.Helper()
	if l.failed.Load() > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		t.Fatalf("%d visitors lost something: %s", l.failed.Load(), strings.Join(l.errors, "\n"))
	}
}

// stop ends the load.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.wg.Wait()
	l.report(t)
	var total int64
	for _, k := range l.kinds {
		total += k.done.Load()
	}
	t.Logf("%d requests without an error", total)
}

// strict is a client that takes every failure to heart, where a browser and net/http try again.
type strict struct {
	dial  func(context.Context) (net.Conn, error)
	host  string
	fresh bool // a connection for each request

	conn  net.Conn // nil: none is open
	br    *bufio.Reader
	quiet time.Time // of the connection: its last answer
	jar   jar
}

// jar holds the cookies and what the visitor saw last.
type jar struct {
	cookies map[string]string
	seen    harness.Visit
}

func (j *jar) field() string {
	var b strings.Builder
	for name, value := range j.cookies {
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(name + "=" + value)
	}
	return b.String()
}

func (j *jar) take(resp *http.Response) {
	if j.cookies == nil {
		j.cookies = map[string]string{}
	}
	for _, c := range resp.Cookies() {
		j.cookies[c.Name] = c.Value
	}
}

// check compares an answer of the application with the one before.
func (j *jar) check(status int, body []byte) error {
	var v harness.Visit
	if status != http.StatusOK {
		return errf("status %d: %.200s", status, body)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return errf("the answer is %.200q: %v", body, err)
	}
	if last := j.seen; last.Views > 0 && (v.Server != last.Server || v.Views != last.Views+1) {
		return errf("was on %s with %d views and is on %s with %d (lost: %q)", last.Server, last.Views, v.Server, v.Views, v.Lost)
	}
	j.seen = v
	return nil
}

// open connects if no connection is open.
func (s *strict) open(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	c, err := s.dial(ctx)
	if err != nil {
		return errf("connect: %w", err)
	}
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	s.conn, s.br, s.quiet = c, bufio.NewReader(c), time.Now()
	return nil
}

func (s *strict) close() {
	_ = s.conn.Close()
	s.conn = nil
}

// do sends a request and returns its answer. A connection that was quiet for as long as only a stalled
// test leaves it is another matter than one in use: any server may close that, and then it is left alone.
func (s *strict) do(ctx context.Context, r *http.Request) (*http.Response, []byte, error) {
	if s.conn != nil && time.Since(s.quiet) > time.Second {
		s.close()
	}
	if err := s.open(ctx); err != nil {
		return nil, nil, err
	}
	if cookies := s.jar.field(); cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	if err := r.Write(s.conn); err != nil {
		return nil, nil, errf("send: %w (%s)", err, s.refused(r))
	}
	resp, err := http.ReadResponse(s.br, r)
	if err != nil {
		return nil, nil, errf("no answer: %w", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, errf("half an answer: %w", err)
	}
	s.jar.take(resp)
	s.quiet = time.Now()
	if resp.Close || s.fresh {
		s.close()
	}
	return resp, body, nil
}

// refused tells what the proxy has answered to a request that it did not take.
func (s *strict) refused(r *http.Request) string {
	resp, err := http.ReadResponse(s.br, r)
	if err != nil {
		return "no answer: " + err.Error()
	}
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("answered %d: %.300q, %v", resp.StatusCode, body, err)
}

func (s *strict) visit(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.host+"/", nil)
	if err != nil {
		return err
	}
	resp, body, err := s.do(ctx, r)
	if err != nil {
		return err
	}
	return s.jar.check(resp.StatusCode, body)
}

// upload sends half a megabyte in pieces, so slowly that a take-over falls into it.
func (s *strict) upload(ctx context.Context) error {
	const pieces, size = 32, 16 << 10
	piece := bytes.Repeat([]byte("portico "), size/8)
	sum := sha256.New()
	in, out := io.Pipe()
	defer in.Close()
	go func() {
		for range pieces {
			_, _ = sum.Write(piece)
			if _, err := out.Write(piece); err != nil {
				return
			}
			time.Sleep(pace) // the load is a rate, not a flood
		}
		_ = out.Close()
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.host+"/upload", in)
	if err != nil {
		return err
	}
	resp, body, err := s.do(ctx, r)
	if err != nil {
		return err
	}
	var got struct {
		Size   int
		SHA256 string
	}
	if err := json.Unmarshal(body, &got); err != nil || got.Size != pieces*size || got.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
		return errf("an upload of %d bytes was answered %d: %.200s", pieces*size, resp.StatusCode, body)
	}
	return nil
}

// socket opens a WebSocket, has an echo and closes it.
func (s *strict) socket(ctx context.Context) error {
	if s.jar.cookies == nil {
		return s.visit(ctx)
	}
	if s.conn != nil {
		s.close()
	}
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.close()
	ws, err := upgrade(s.conn, s.jar.field())
	if err != nil {
		return err
	}
	defer ws.Close() // with a word to the application, which does not mind half a connection
	return echo(ws, s.jar.seen.Server)
}

func upgrade(c net.Conn, cookies string) (*websocket.Conn, error) {
	config, err := websocket.NewConfig("ws://node.test/echo", "http://node.test")
	if err != nil {
		return nil, err
	}
	config.Header.Set("Cookie", cookies)
	ws, err := websocket.NewClient(config, c)
	if err != nil {
		return nil, errf("open WebSocket: %w", err)
	}
	return ws, nil
}

func echo(ws *websocket.Conn, server string) error {
	if err := websocket.Message.Send(ws, "hello"); err != nil {
		return errf("send over WebSocket: %w", err)
	}
	var reply string
	if err := websocket.Message.Receive(ws, &reply); err != nil {
		return errf("no echo: %w", err)
	}
	if reply != server+":hello" {
		return errf("the echo is %q, the visitor is on %s", reply, server)
	}
	return nil
}

// multiplexed is a client over HTTP/2. It comes again by itself where the server has said that it
// has not looked at a request, which is what GOAWAY is for.
type multiplexed struct {
	client *http.Client
	jar    jar
}

func newMultiplexed(t *testing.T, p *harness.Proxy, roots *x509.CertPool) *multiplexed {
	t.Helper()
	cookies, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, network, p.HTTPS)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &multiplexed{client: &http.Client{Transport: tr, Jar: cookies, Timeout: time.Minute}}
}

func (m *multiplexed) visit(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, (&url.URL{Scheme: "https", Host: "localhost", Path: "/"}).String(), nil)
	if err != nil {
		return err
	}
	resp, err := m.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return errf("half an answer: %w", err)
	}
	if resp.ProtoMajor != 2 {
		return errf("answered with %s", resp.Proto)
	}
	return m.jar.check(resp.StatusCode, body)
}

// longSocket is a WebSocket that was opened before a take-over.
type longSocket struct {
	ws     *websocket.Conn
	server string
}

func openSocket(t *testing.T, p *harness.Proxy) *longSocket {
	t.Helper()
	s := &strict{host: "node.test", dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, "tcp", p.HTTP)
	}}
	if err := s.visit(t.Context()); err != nil {
		t.Fatal(err)
	}
	ws, err := upgrade(s.conn, s.jar.field())
	if err != nil {
		t.Fatal(err)
	}
	return &longSocket{ws, s.jar.seen.Server}
}

func (s *longSocket) echo(t *testing.T) {
	t.Helper()
	if err := echo(s.ws, s.server); err != nil {
		t.Errorf("a WebSocket from before: %v", err)
	}
}

// cutTunnel is what a proxy says when it cuts one.
const cutTunnel = "proxy.timeouts.tunnels after the take-over"

// lasts uses the WebSocket until the process that has it cuts it, which it must say.
func (s *longSocket) lasts(t *testing.T, holder *harness.Process) {
	t.Helper()
	for echo(s.ws, s.server) == nil {
		time.Sleep(pace) // the load is a rate, not a flood
	}
	harness.Eventually(t, time.Minute, logged(holder, cutTunnel))
}
