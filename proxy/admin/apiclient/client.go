package apiclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"portico/internal/refusal"
	"portico/proxy/admin/api"
)

// Options say how to reach a proxy's admin listener.
type Options struct {
	Addr  string      // host:port, or https://host:port
	TLS   *tls.Config // how to trust the listener, such as by the fingerprint of the cluster's authority; nil: the system's roots
	Token string      // bearer token; empty: only what needs none

	UserAgent string // default "portico"
}

// callTime bounds each call that is neither an upload nor a stream.
const callTime = 30 * time.Second

// silence is for how long a proxy may send nothing at all, not even an answer to a ping, before what it is asked for breaks off: a process
// that stands still, and a line that is cut, end no connection.
const silence = 30 * time.Second

// Client calls the admin API. It is safe for concurrent use. Errors that the API
// answers with are of type *refusal.Error.
type Client struct {
	base      string
	token     string
	userAgent string
	patience  Patience // of reads; see Patient
	current   bool     // see Consistent
	standing  *atomic.Pointer[api.Standing]
	http      *http.Client
}

// New returns a client; nothing is sent yet.
func New(o Options) (*Client, error) {
	base := o.Addr
	if !strings.Contains(base, "://") {
		base = "https://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || (u.Path != "" && u.Path != "/") {
		return nil, fmt.Errorf("use address %q: write host:port or https://host:port", o.Addr)
	}
	c := &Client{standing: &atomic.Pointer[api.Standing]{}, base: "https://" + u.Host, token: o.Token, userAgent: o.UserAgent}
	if c.userAgent == "" {
		c.userAgent = "portico"
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		config = o.TLS.Clone()
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: config, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
			IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 4, ExpectContinueTimeout: 2 * time.Second,
			MaxResponseHeaderBytes: 64 << 10, Proxy: http.ProxyFromEnvironment,
			HTTP2: &http.HTTP2Config{SendPingTimeout: silence / 2, PingTimeout: silence / 2},
		},
		// The API redirects nothing; following would take the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Standing returns what the last answer said of the view that it was made from.
func (c *Client) Standing() api.Standing {
	if st := c.standing.Load(); st != nil {
		return *st
	}
	return api.Standing{}
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// maxAnswer bounds what a call reads: an answer is JSON for people, not a stream.
const maxAnswer = 64 << 20

// Consistent returns a client of the same connections whose reads hold what any proxy has
// written by then: for what is decided on.
func (c *Client) Consistent() *Client {
	current := *c
	current.current = true
	return &current
}

// call sends in as JSON (nil: no body) and decodes the answer into out (nil:
// ignored).
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	if c.current && method == http.MethodGet {
		query = maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		query.Set("consistent", "1")
	}
	if method != http.MethodGet {
		return c.callOnce(ctx, method, path, query, in, out)
	}
	return c.ride(ctx, func(ctx context.Context) error { return c.callOnce(ctx, method, path, query, in, out) })
}

func (c *Client) callOnce(ctx context.Context, method, path string, query url.Values, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.send(ctx, method, path, query, body, "application/json")
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("read answer of %s %s: %w", method, path, err)
	}
	return nil
}

func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}

// send returns the response of a request that was answered with 2xx, and an
// error for every other one.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body io.Reader, contentType string) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	return c.do(req)
}

func (c *Client) do(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", c.userAgent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	st := api.StandingOf(resp.Header)
	c.standing.Store(&st)
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer drain(resp.Body)
	return nil, readError(resp)
}

// explain adds what to do to the errors that people meet first.
func (c *Client) explain(err error) error {
	var unknown *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unknown):
		return &refusal.Error{Code: "untrusted", Message: fmt.Sprintf("reach %s: %v", c.base, unknown.Err),
			Hint: "run portico login with the fingerprint that the proxy printed"}
	case errors.Is(err, context.Canceled):
		return err // who cut it short knows what was asked
	case errors.Is(err, context.DeadlineExceeded) || api.IsTimeout(err):
		return fmt.Errorf("reach %s: %w", c.base, context.DeadlineExceeded)
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // the address is said already
	}
	e := &unreached{base: c.base, err: err}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		e.hint = "is the proxy running, and is that its admin address?"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		e.hint = "that seems to be an address of the sites: the admin address is another one, port 7443 mostly"
	}
	return e
}

// unreached is a proxy that no answer came from, with what may help.
type unreached struct {
	base, hint string
	err        error
}

func (e *unreached) Error() string { return fmt.Sprintf("reach %s: %v", e.base, e.err) }

func (e *unreached) Unwrap() error { return e.err }

// Hint says what may help, "" where nobody knows.
func (e *unreached) Hint() string { return e.hint }

func readError(resp *http.Response) *refusal.Error {
	e := &refusal.Error{Status: resp.StatusCode, Code: "http", Message: "the proxy answered " + resp.Status}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var answer struct {
		Error *refusal.Error `json:"error"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Error != nil && answer.Error.Message != "" {
		e.Code, e.Message, e.Hint = answer.Error.Code, answer.Error.Message, answer.Error.Hint
	}
	return e
}

// ask is call for an answer of type T.
func ask[T any](ctx context.Context, c *Client, method, path string, query url.Values, in any) (out T, err error) {
	err = c.call(ctx, method, path, query, in, &out)
	return out, err
}

// stream copies a text or binary answer to w, for as long as ctx lasts.
func (c *Client) stream(ctx context.Context, path string, query url.Values, w io.Writer) error {
	resp, err := c.send(ctx, http.MethodGet, path, query, nil, "")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("%w: read answer of GET %s: %w", errBroke, path, err)
	}
	return nil
}

func segment(s string) string { return url.PathEscape(s) }

// params builds a query of the pairs whose value is not empty.
func params(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func dryRun() url.Values { return url.Values{"dry_run": {"1"}} }
