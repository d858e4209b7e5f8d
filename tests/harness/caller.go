package harness

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"time"
)

// Caller is a browser of one kept connection that hides nothing: net/http's own
// client sends a request again when a kept connection turns out to be closed, and
// its caller never learns that the application may have seen it twice.
type Caller struct {
	Host, Agent string // of the site; what it says that it is

	addr string
	jar  http.CookieJar
	conn net.Conn
	in   *bufio.Reader
}

// NewCaller returns a caller of the site host behind the proxy at addr.
func NewCaller(addr, host, agent string) (*Caller, error) {
	jar, err := cookiejar.New(nil)
	return &Caller{Host: host, Agent: agent, addr: addr, jar: jar}, err
}

// ErrNotConnected reports that nobody took a connection: nothing was sent.
var ErrNotConnected = errors.New("no connection")

// callTime bounds one request with its answer.
const callTime = 40 * time.Second

// Connect makes sure that there is a connection and reports whether it is a new
// one. Its error is ErrNotConnected.
func (c *Caller) Connect() (fresh bool, err error) {
	if c.conn != nil {
		return false, nil
	}
	conn, err := net.DialTimeout("tcp", c.addr, 20*time.Second)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	return true, nil
}

// Get sends a request on the connection that Connect made, and returns the answer
// with its whole body. After an error the connection is closed, and nobody knows
// whether the application has seen the request.
func (c *Caller) Get(path string, header http.Header) (resp *http.Response, body []byte, err error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+c.Host+path, nil)
	if err != nil {
		return nil, nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.Agent)
	for _, k := range c.jar.Cookies(req.URL) {
		req.AddCookie(k)
	}
	defer func() {
		if err != nil || resp.Close {
			c.Close()
		}
	}()
	if err = c.conn.SetDeadline(time.Now().Add(callTime)); err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	if err = req.Write(&out); err != nil {
		return nil, nil, err
	}
	if _, err = c.conn.Write(out.Bytes()); err != nil {
		return nil, nil, err
	}
	if resp, err = http.ReadResponse(c.in, req); err != nil {
		return nil, nil, err
	}
	if body, err = io.ReadAll(resp.Body); err != nil {
		return nil, nil, err
	}
	c.jar.SetCookies(req.URL, resp.Cookies())
	return resp, body, nil
}

// Cookie returns the value of a cookie that the caller holds, or "".
func (c *Caller) Cookie(name string) string {
	for _, k := range c.jar.Cookies(&url.URL{Scheme: "http", Host: c.Host, Path: "/"}) {
		if k.Name == name {
			return k.Value
		}
	}
	return ""
}

// Close closes the connection; the cookies stay.
func (c *Caller) Close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn, c.in = nil, nil
	}
}
