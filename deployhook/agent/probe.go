package agent

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/portowner"
	"portico/internal/pause"
	"portico/internal/units"
	"portico/membership/catalog"
)

const (
	probeRead   = 64 << 10 // of an answer's body
	probeShown  = 256      // of it in a report
	probeHeader = 64 << 10
	fastProbe   = 100 * time.Millisecond // between checks of an instance that has just started
	fastProbes  = 20                     // so many, then they come ever slower up to the interval
)

// checker is what one check asks, with every default filled in.
type checker struct {
	tcp     bool
	path    string
	host    string
	status  sites.StatusRange
	body    string
	timeout time.Duration
	http2   bool // the instance speaks HTTP/2, with prior knowledge
}

func newChecker(site string, s sites.Settings) checker {
	h := s.WithDefaults(site).Health
	status, _ := sites.ParseStatus(h.Status) // the catalog refuses what cannot be read
	return checker{tcp: h.Type == sites.HealthTCP, path: h.Path, host: h.Host, status: status, body: h.Body, timeout: h.Timeout.Std(), http2: s.Protocol == sites.ProtocolH2C}
}

// what names the check for people.
func (c checker) what() string {
	if c.tcp {
		return "the TCP port"
	}
	if c.http2 {
		return "GET " + c.path + " over HTTP/2 (Host: " + c.host + ")"
	}
	return "GET " + c.path + " (Host: " + c.host + ")"
}

// probeTCP checks that somebody takes a connection at addr.
func probeTCP(ctx context.Context, d *portowner.Dialer, addr string, c checker) catalog.Probe {
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

// probe makes the check that c asks for.
func probe(ctx context.Context, d *portowner.Dialer, addr string, c checker) catalog.Probe {
	if c.tcp {
		return probeTCP(ctx, d, addr, c)
	}
	return probeHTTP(ctx, d, addr, c)
}

// probeHTTP makes one request on a connection of its own. Redirects are not
// followed: the answer of the instance itself counts, not that of wherever it
// points.
func probeHTTP(ctx context.Context, d *portowner.Dialer, addr string, c checker) catalog.Probe {
	p := catalog.Probe{At: time.Now()}
	req, err := checkRequest(ctx, c)
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
		if p.Code, p.Error = "L7RSP", plain(err); timedOut(err) {
			p.Code, p.Error = "L7TOUT", fmt.Sprintf("no answer within %v", c.timeout)
		}
		return p
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, probeRead))
	c.judge(&p, res.StatusCode, body, err)
	return p
}

// ask makes a request on a connection that is closed after it. An http.Transport would start a goroutine for the dial and one for each
// direction, and a machine at rest does little but check. For HTTP/2 it does.
func (c checker) ask(conn net.Conn, req *http.Request) (*http.Response, error) {
	if c.http2 {
		t := &http.Transport{
			DialContext:            func(context.Context, string, string) (net.Conn, error) { return conn, nil },
			Protocols:              new(http.Protocols),
			DisableCompression:     true,
			MaxResponseHeaderBytes: probeHeader,
		}
		t.Protocols.SetUnencryptedHTTP2(true)
		req.Close = false
		return t.RoundTrip(req)
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(io.LimitReader(conn, probeHeader+probeRead))
	for {
		res, err := http.ReadResponse(in, req)
		if err != nil || res.StatusCode >= http.StatusOK || res.StatusCode == http.StatusSwitchingProtocols {
			return res, err
		}
	}
}

func checkRequest(ctx context.Context, c checker) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://instance"+c.path, nil)
	if err != nil {
		return nil, fmt.Errorf("health.path %q: %w", c.path, err)
	}
	req.Host, req.Close = c.host, true
	req.Header.Set("User-Agent", "portico-check")
	return req, nil
}

// judge completes a probe from an answer.
func (c checker) judge(p *catalog.Probe, status int, body []byte, err error) {
	p.Latency = units.Duration(time.Since(p.At))
	p.Status = status
	p.Body = printable(body)
	switch {
	case err != nil && timedOut(err):
		p.Code, p.Error = "L7TOUT", fmt.Sprintf("the answer did not end within %v", c.timeout)
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

// printable returns the beginning of an answer without what would disturb a
// terminal or a log.
func printable(b []byte) string {
	s := strings.ToValidUTF8(string(b[:min(len(b), probeShown)]), "\uFFFD")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

func connectCode(err error) string {
	if timedOut(err) {
		return "L4TOUT"
	}
	return "L4CON"
}

// plain says what a connection error means without the address that everybody
// knows here.
func plain(err error) string {
	var foreign *portowner.ForeignError
	switch {
	case errors.As(err, &foreign):
		return foreign.Err.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: nothing listens there"
	case errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer"
	}
	return err.Error()
}

// describe puts a probe into one line.
func describe(p catalog.Probe) string {
	s := p.Code
	if p.Status != 0 {
		s += fmt.Sprintf(", status %d", p.Status)
	}
	s += ", " + p.Latency.Std().Round(time.Millisecond).String()
	if p.Error != "" {
		s += ": " + p.Error
	}
	return s
}

// health is the rule of rise and fall for one instance. It has no clock.
type health struct {
	healthy bool
	ever    bool // it has been healthy
	run     int  // checks in a row that speak against the present state
	checks  int
}

func newHealth() *health { return &health{} }

// observe takes the outcome of a check and reports whether the state changed.
func (h *health) observe(ok bool, s sites.Health) bool {
	h.checks++
	if ok == h.healthy {
		h.run = 0
		return false
	}
	h.run++
	limit := cmp.Or(s.Rise, sites.DefaultRise)
	if h.healthy {
		limit = cmp.Or(s.Fall, sites.DefaultFall)
	}
	if h.run < limit {
		return false
	}
	h.healthy, h.run = ok, 0
	h.ever = h.ever || ok
	return true
}

// full is how long to wait between the checks of an instance that has been healthy.
func full(s sites.Health) time.Duration { return cmp.Or(s.Interval.Std(), sites.DefaultHealthInterval) }

// interval returns how long to wait for the next check of an instance that has not been healthy: little while it
// starts, so that a deploy does not wait for a timer, then up to the setting.
func (h *health) interval(s sites.Health) time.Duration {
	full := full(s)
	d := fastProbe
	for range max(0, h.checks-fastProbes) {
		if d *= 2; d > full {
			break
		}
	}
	return pause.Jitter(min(d, full))
}
