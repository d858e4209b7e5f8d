package tests

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"portico/tests/harness"
)

// grpcApp returns a folder with the gRPC application, ready to be deployed; args follow its program's name.
func grpcApp(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(harness.App("grpc"), "portico.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range args {
		text = bytes.Replace(text, []byte(`"./grpc"`), fmt.Appendf(nil, `"./grpc", %q`, a), 1)
	}
	if err := os.WriteFile(filepath.Join(dir, "portico.toml"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "grpc"), "./tests/apps/grpc")
	build.Dir = harness.Root()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// grpcServer runs the application by itself.
func grpcServer(t *testing.T, dir, addr string) *exec.Cmd {
	t.Helper()
	_, port, _ := net.SplitHostPort(addr)
	c := exec.Command(filepath.Join(dir, "grpc"))
	c.Env = append(os.Environ(), "PORT="+port)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return c
}

func grpcDial(t *testing.T, addr string, roots *x509.CertPool, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	more = append(more, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12})),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	c, err := grpc.NewClient("passthrough:///"+addr, append(more, grpc.WithAuthority("localhost"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func in(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func bytesValue(s string) *wrapperspb.BytesValue { return &wrapperspb.BytesValue{Value: []byte(s)} }

const farAway = 2 * time.Minute

// A gRPC application is a site: its calls of every kind reach it through both drivers, on a server of the file and behind an agent.
func TestGRPC(t *testing.T) {
	t.Parallel()
	dir := grpcApp(t)
	for _, engine := range []string{"loop", "conn"} {
		t.Run(engine+" static", func(t *testing.T) {
			t.Parallel()
			addr := harness.Addr(t)
			grpcServer(t, dir, addr)
			config, roots := certificateConfig(t, fmt.Sprintf("[[site]]\nname = \"calls\"\nprotocol = \"h2c\"\nhealth.type = \"tcp\"\nhealth.interval = \"200ms\"\n[[site.upstream]]\nname = \"one\"\naddr = %q\n", addr))
			p := harness.StartProxy(t, append(config, "--set", "proxy.engine="+engine)...)
			settled(t, p, "calls", 1)
			grpcCalls(t, p, roots)
		})
		t.Run(engine+" agent", func(t *testing.T) {
			t.Parallel()
			p, roots := startWithCertificate(t, "--set", "proxy.engine="+engine)
			agent := p.AddServer("server-1")
			p.Must("deploy", "calls", dir, "--host", "localhost")
			settled(t, p, "calls", 1)
			grpcCalls(t, p, roots)
			grpcEnds(t, p, roots, agent)
		})
	}
}

// A call that the instance does not answer in the time that the proxy has for it is unavailable, which is what gRPC makes of 504.
func TestGRPCSlowCall(t *testing.T) {
	t.Parallel()
	dir := grpcApp(t)
	for _, engine := range []string{"loop", "conn"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			addr := harness.Addr(t)
			grpcServer(t, dir, addr)
			config, roots := certificateConfig(t, fmt.Sprintf("[[site]]\nname = \"calls\"\nprotocol = \"h2c\"\nhealth.type = \"tcp\"\nhealth.interval = \"200ms\"\n[[site.upstream]]\nname = \"one\"\naddr = %q\n", addr))
			p := harness.StartProxy(t, append(config, "--set", "proxy.engine="+engine, "--set", "proxy.timeouts.response=1s")...)
			settled(t, p, "calls", 1)
			err := grpcDial(t, p.HTTPS, roots).Invoke(in(t, farAway), "/test.Calls/One", bytesValue("wait"), new(wrapperspb.BytesValue))
			if s := status.Convert(err); s.Code() != codes.Unavailable || !strings.Contains(s.Message(), "504") {
				t.Errorf("a slow call: %v", err)
			}
		})
	}
}

func grpcCalls(t *testing.T, p *harness.Proxy, roots *x509.CertPool) {
	t.Helper()
	c := grpcDial(t, p.HTTPS, roots, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, PermitWithoutStream: true}))
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			var head, tail metadata.MD
			size := []int{0, 10, 1 << 20}[i%3]
			body, got := strings.Repeat(fmt.Sprint(i%10), size), new(wrapperspb.BytesValue)
			if err := c.Invoke(in(t, farAway), "/test.Calls/One", bytesValue(body), got, grpc.Header(&head), grpc.Trailer(&tail)); err != nil || string(got.Value) != body {
				t.Errorf("one call: %d bytes of %d, %v", len(got.Value), size, err)
			}
			if fmt.Sprint(tail.Get("x-size")) != fmt.Sprintf("[%d]", size) || len(head.Get("x-server")) != 1 || head.Get("x-forwarded-for")[0] != "127.0.0.1" {
				t.Errorf("header %v, trailer %v", head, tail)
			}
		})
	}
	wg.Wait()
	err := c.Invoke(in(t, farAway), "/test.Calls/One", bytesValue("fail"), new(wrapperspb.BytesValue))
	if s, _ := status.FromError(err); s.Code() != codes.NotFound || s.Message() != "there is no such thing" {
		t.Errorf("a call that fails: %v", err)
	}
	if err := c.Invoke(in(t, farAway), "/test.Calls/Nothing", bytesValue(""), new(wrapperspb.BytesValue)); status.Code(err) != codes.Unimplemented {
		t.Errorf("a call of nothing: %v", err)
	}
	grpcStreams(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := c.Invoke(ctx, "/test.Calls/One", bytesValue("wait"), new(wrapperspb.BytesValue)); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a deadline: %v", err)
	}
}

func grpcStreams(t *testing.T, c *grpc.ClientConn) {
	t.Helper()
	down, err := c.NewStream(in(t, farAway), &grpc.StreamDesc{ServerStreams: true}, "/test.Calls/Down")
	if err != nil {
		t.Fatal(err)
	}
	_ = down.SendMsg(bytesValue("1000"))
	_ = down.CloseSend()
	for i := 0; ; i++ {
		m := new(wrapperspb.BytesValue)
		if err := down.RecvMsg(m); errors.Is(err, io.EOF) && i == 1000 {
			break
		} else if err != nil || string(m.Value) != fmt.Sprint(i) {
			t.Fatalf("message %d: %q, %v", i, m.Value, err)
		}
	}
	up, err := c.NewStream(in(t, farAway), &grpc.StreamDesc{ClientStreams: true}, "/test.Calls/Up")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := up.SendMsg(bytesValue(strings.Repeat("u", 50_000))); err != nil {
			t.Fatal(err)
		}
	}
	_ = up.CloseSend()
	sum := new(wrapperspb.BytesValue)
	if err := up.RecvMsg(sum); err != nil || string(sum.Value) != "100 5000000" {
		t.Errorf("a stream of the client's: %q, %v", sum.Value, err)
	}
	both, err := c.NewStream(in(t, farAway), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Calls/Both")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		m := new(wrapperspb.BytesValue)
		if err := both.SendMsg(bytesValue(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if err := both.RecvMsg(m); err != nil || string(m.Value) != fmt.Sprint(i) {
			t.Fatalf("message %d: %q, %v", i, m.Value, err)
		}
	}
	_ = both.CloseSend()
	if err := both.RecvMsg(new(wrapperspb.BytesValue)); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

// grpcEnds: an instance hears of clients that go, a client of an instance that is killed, and a call that is under way outlives a deploy.
func grpcEnds(t *testing.T, p *harness.Proxy, roots *x509.CertPool, agent *harness.Agent) {
	t.Helper()
	c := grpcDial(t, p.HTTPS, roots)
	ctx, cancel := context.WithCancel(context.Background())
	both, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Calls/Both")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(both.SendMsg(bytesValue("a")), both.RecvMsg(new(wrapperspb.BytesValue))); err != nil {
		t.Fatal(err)
	}
	cancel()
	harness.Eventually(t, farAway, func() error {
		if log := p.Must("logs", "calls"); !strings.Contains(log, "a call ended:") || !strings.Contains(log, "anceled") {
			return errf("the instance has not heard of it: %s", log)
		}
		return nil
	})

	long, err := c.NewStream(in(t, farAway), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Calls/Both")
	if err != nil {
		t.Fatal(err)
	}
	talk := func(word string) error {
		m := new(wrapperspb.BytesValue)
		if err := errors.Join(long.SendMsg(bytesValue(word)), long.RecvMsg(m)); err != nil || string(m.Value) != word {
			return fmt.Errorf("%q: %q, %w", word, m.Value, err)
		}
		return nil
	}
	if err := talk("before"); err != nil {
		t.Fatal(err)
	}
	p.Must("sites", "set", "calls", "env.RELEASE=2")
	if err := talk("after"); err != nil {
		t.Error("a call does not outlive a deploy:", err)
	}
	for range 20 {
		if err := c.Invoke(in(t, farAway), "/test.Calls/One", bytesValue("x"), new(wrapperspb.BytesValue)); err != nil {
			t.Error("a call during a deploy:", err)
		}
	}
	agent.KillWithSites()
	if err := talk("dead"); status.Code(errors.Unwrap(err)) != codes.Internal && err == nil {
		t.Error("a call outlives its instance")
	}
	if err := c.Invoke(in(t, farAway), "/test.Calls/One", bytesValue("x"), new(wrapperspb.BytesValue)); status.Code(err) != codes.Unavailable {
		t.Errorf("a call of a site without an instance: %v", err)
	}
}
