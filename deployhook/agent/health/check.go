package health

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/portowner"
	"portico/internal/units"
	"portico/membership/catalog"
)

const (
	// BodyRead is how much of an answer's body is looked at.
	BodyRead  = 64 << 10
	bodyShown = 256 // of it in a report
	headRead  = 64 << 10
)

// Check is what one check asks, with every default filled in.
type Check struct {
	TCP     bool
	path    string
	host    string
	status  sites.StatusRange
	body    string
	Timeout time.Duration
	http2   bool // the instance speaks HTTP/2, with prior knowledge
}

// CheckOf is what a site's settings ask.
func CheckOf(site string, s sites.Settings) Check {
	h := s.WithDefaults(site).Health
	status, _ := sites.ParseStatus(h.Status) // the catalog refuses what cannot be read
	return Check{TCP: h.Type == sites.HealthTCP, path: h.Path, host: h.Host, status: status, body: h.Body, Timeout: h.Timeout.Std(), http2: s.Protocol == sites.ProtocolH2C}
}

// What names the check for people.
func (c Check) What() string {
	if c.TCP {
		return "the TCP port"
	}
	if c.http2 {
		return "GET " + c.path + " over HTTP/2 (Host: " + c.host + ")"
	}
	return "GET " + c.path + " (Host: " + c.host + ")"
}

// probeTCP checks that somebody takes a connection at addr.
func (c Check) probeTCP(ctx context.Context, d *portowner.Dialer, addr string) catalog.Probe {
	p := catalog.Probe{At: time.Now()}
	conn, err := d.DialContext(ctx, "tcp", addr)
	p.Latency = units.Duration(time.Since(p.At))
	if err != nil {
		p.Code, p.Error = connectCode(err), plain(err)
		return p
	}
	_ = conn.Close()
	p.OK, p.Code = true, "L4OK"
	return p
}

// Probe makes the check at addr.
func (c Check) Probe(ctx context.Context, d *portowner.Dialer, addr string) catalog.Probe {
	if c.TCP {
		return c.probeTCP(ctx, d, addr)
	}
	return c.probeHTTP(ctx, d, addr)
}

// probeHTTP makes one request on a connection of its own. Redirects are not
// followed: the answer of the instance itself counts, not that of wherever it
// points.
func (c Check) probeHTTP(ctx context.Context, d *portowner.Dialer, addr string) catalog.Probe {
	p := catalog.Probe{At: time.Now()}
	req, err := c.Request(ctx)
	if err != nil {
		p.Code, p.Error = "L7RSP", err.Error()
		return p
	}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		p.Latency = units.Duration(time.Since(p.At))
		p.Code, p.Error = connectCode(err), plain(err)
		return p
	}
	defer conn.Close()
	if at, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(at)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	res, err := c.ask(conn, req)
	if err != nil {
		p.Latency = units.Duration(time.Since(p.At))
		if p.Code, p.Error = "L7RSP", plain(err); TimedOut(err) {
			p.Code, p.Error = "L7TOUT", fmt.Sprintf("no answer within %v", c.Timeout)
		}
		return p
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, BodyRead))
	c.Judge(&p, res.StatusCode, body, err)
	return p
}

// ask makes a request on a connection that is closed after it. An http.Transport would start a goroutine for the dial and one for each
// direction, and a machine at rest does little but check. For HTTP/2 it does.
func (c Check) ask(conn net.Conn, req *http.Request) (*http.Response, error) {
	if c.http2 {
		t := &http.Transport{
			DialContext:            func(context.Context, string, string) (net.Conn, error) { return conn, nil },
			Protocols:              new(http.Protocols),
			DisableCompression:     true,
			MaxResponseHeaderBytes: headRead,
		}
		t.Protocols.SetUnencryptedHTTP2(true)
		req.Close = false
		return t.RoundTrip(req)
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(io.LimitReader(conn, headRead+BodyRead))
	for {
		res, err := http.ReadResponse(in, req)
		if err != nil || res.StatusCode >= http.StatusOK || res.StatusCode == http.StatusSwitchingProtocols {
			return res, err
		}
	}
}

// Request is what a check over HTTP asks.
func (c Check) Request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://instance"+c.path, nil)
	if err != nil {
		return nil, fmt.Errorf("health.path %q: %w", c.path, err)
	}
	req.Host, req.Close = c.host, true
	req.Header.Set("User-Agent", "portico-check")
	return req, nil
}

// Judge completes a probe from an answer.
func (c Check) Judge(p *catalog.Probe, status int, body []byte, err error) {
	p.Latency = units.Duration(time.Since(p.At))
	p.Status = status
	p.Body = printable(body)
	switch {
	case err != nil && TimedOut(err):
		p.Code, p.Error = "L7TOUT", fmt.Sprintf("the answer did not end within %v", c.Timeout)
	case err != nil:
		p.Code, p.Error = "L7RSP", plain(err)
	case !c.status.Has(status):
		p.Code, p.Error = "L7STS", fmt.Sprintf("status %d is not among those that health.status names", status)
	case c.body != "" && !bytes.Contains(body, []byte(c.body)):
		p.Code, p.Error = "L7RSP", fmt.Sprintf("the answer does not contain %q (health.body)", c.body)
	default:
		p.OK, p.Code = true, "L7OK"
	}
}
