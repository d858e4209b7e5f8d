package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"
	"time"
)

// Visit is what the test applications answer.
type Visit struct {
	Views   int    `json:"views"`
	Server  string `json:"server"`
	Release string `json:"release"`
	Lost    string `json:"lost"`
	Client  string `json:"client"`
	Setting string `json:"setting"`
}

// Visitor is one browser: it keeps cookies and a connection.
type Visitor struct {
	t      testing.TB
	Host   string // of the site
	Client *http.Client
}

// NewVisitor returns a visitor of the site host behind the proxy at addr.
func NewVisitor(t testing.TB, addr, host string) *Visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	dialer := &net.Dialer{Timeout: 20 * time.Second}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr)
		},
		ResponseHeaderTimeout: 30 * time.Second,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &Visitor{t: t, Host: host, Client: &http.Client{Jar: jar, Transport: transport, Timeout: time.Minute}}
}

// Do sends one request and returns status, header and body.
func (v *Visitor) Do(method, path string, body io.Reader) (*http.Response, []byte, error) {
	req, err := http.NewRequest(method, "http://"+v.Host+path, body)
	if err != nil {
		return nil, nil, err
	}
	resp, err := v.Client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp, data, err
}

// Try visits path and decodes the application's answer.
func (v *Visitor) Try(path string) (Visit, error) {
	resp, data, err := v.Do(http.MethodGet, path, nil)
	if err != nil {
		return Visit{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return Visit{}, fmt.Errorf("%s%s answers %s: %.200s", v.Host, path, resp.Status, data)
	}
	var visit Visit
	if err := json.Unmarshal(data, &visit); err != nil {
		return Visit{}, fmt.Errorf("%s%s answers %.200q: %w", v.Host, path, data, err)
	}
	return visit, nil
}

// Get is Try for visits that have to succeed.
func (v *Visitor) Get(path string) Visit {
	v.t.Helper()
	visit, err := v.Try(path)
	if err != nil {
		v.t.Fatal(err)
	}
	return visit
}

// Cookie returns the value of a cookie that the visitor holds, or "".
func (v *Visitor) Cookie(name string) string {
	for _, c := range v.Client.Jar.Cookies(&url.URL{Scheme: "http", Host: v.Host, Path: "/"}) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// Redial makes the visitor connect with dial from now on.
func (v *Visitor) Redial(dial func() (net.Conn, error)) {
	transport := v.Client.Transport.(*http.Transport)
	transport.CloseIdleConnections()
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return dial() }
}
