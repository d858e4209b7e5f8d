package tests

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"portico/internal/freeport"
	"portico/internal/pebble"
	"portico/tests/harness"
)

// A site gets its certificate from a real ACME server without being asked
// twice, plain HTTP leads there, and a restart asks for nothing.
func TestCertificatesByThemselves(t *testing.T) {
	t.Parallel()
	plain, secured := freeport.Get(t), freeport.Get(t)
	httpAddr, httpsAddr := fmt.Sprintf("127.0.0.1:%d", plain), fmt.Sprintf("127.0.0.1:%d", secured)
	acme := pebble.Start(t, plain, secured)
	p := harness.StartProxy(t, "--http", httpAddr, "--https", httpsAddr,
		"--set", "tls.acme="+acme.Directory, "--set", "tls.acme_root="+acme.RootFile, "--set", "tls.email=ops@example.com")
	p.AddServer("server-1")
	p.Must("deploy", "shop", harness.App("static"), "--host", "shop.example.com")

	roots := acme.Issuers(t)
	var serial string
	harness.Eventually(t, time.Minute, func() error {
		state, err := handshake(httpsAddr, "shop.example.com", roots)
		if err == nil {
			serial = state.PeerCertificates[0].SerialNumber.String()
		}
		return err
	})
	v := harness.NewVisitor(t, httpAddr, "shop.example.com")
	v.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, _, err := v.Do(http.MethodGet, "/css/site.css?x=1", nil)
	if err != nil || resp.StatusCode != http.StatusPermanentRedirect && resp.StatusCode != http.StatusMovedPermanently {
		t.Fatalf("plain HTTP answers %v %v", resp, err)
	}
	_, port, _ := net.SplitHostPort(httpsAddr)
	if to := resp.Header.Get("Location"); to != "https://shop.example.com:"+port+"/css/site.css?x=1" {
		t.Errorf("plain HTTP leads to %q", to)
	}
	if _, err := handshake(httpsAddr, "stranger.example.com", roots); err == nil {
		t.Error("a host of no site has a certificate")
	}

	secure := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", httpsAddr)
		}}}
	t.Cleanup(secure.CloseIdleConnections)
	resp, err = secure.Get("https://shop.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
		t.Errorf("over TLS: HTTP/%d, %s", resp.ProtoMajor, resp.Status)
	}
	for _, c := range resp.Cookies() {
		if c.Name == "portico-shop" && (!c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode) {
			t.Errorf("the cookie over TLS is %v", c)
		}
	}

	p.Kill()
	p.Restart()
	p.WaitReady()
	state, err := handshake(httpsAddr, "shop.example.com", roots)
	if err != nil {
		t.Fatal(err)
	}
	if got := state.PeerCertificates[0].SerialNumber.String(); got != serial {
		t.Errorf("after a restart the certificate is %s, was %s", got, serial)
	}
}

func handshake(addr, name string, roots *x509.CertPool) (tls.ConnectionState, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr, &tls.Config{ServerName: name, RootCAs: roots})
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}
