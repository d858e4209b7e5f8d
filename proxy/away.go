package proxy

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"

	"portico/balancer"
	"portico/proxy/origin"
)

// What becomes of a visitor whose own instance cannot be reached while the session there is
// kept: the request is held for a moment, then the visitor is asked to come again.

const (
	// agentGrace is how long an instance that takes no connections may be behind an
	// agent that is only restarting, before it counts as down. It takes an agent a second or two to be back.
	agentGrace = 3 * time.Second

	// slowGrace is how long an instance may let its checks wait before it counts as down,
	// while its agent says that the process lives: a pause for garbage, a burst
	// of visitors or a deploy beside it takes seconds.
	slowGrace = 10 * time.Second

	// heldFor is how long requests are held for an instance from when it was first found wanting: longer
	// than a restart of an agent or of a process takes, shorter than people wait without an answer.
	heldFor = 5 * time.Second

	// awayRefresh is how soon a visitor should come again.
	awayRefresh = 3 * time.Second
)

var errAway = errors.New("the instance that keeps the session cannot be reached")

// heldLimit returns for how long a request may still be held for an instance at now (Unix milliseconds).
func heldLimit(u *balancer.Upstream, now int64) time.Duration {
	since := u.Doubted()
	if since == 0 {
		return heldFor
	}
	return min(max(heldFor-time.Duration(now-since)*time.Millisecond, 0), heldFor)
}

// awayFault asks a visitor to come again to the instance that keeps the session. The page
// renews itself where that repeats nothing: after a form it would lose what was sent without a word.
func awayFault(method string) *fault {
	f := &fault{
		status: 503, cause: 'S', phase: 'C', retry: awayRefresh, err: errAway, kept: true,
		text: "The server that keeps your session does not answer at the moment. Your session is kept for you. What you have just sent did not arrive: please send it again in a few seconds.",
	}
	if renews(method) {
		f.renews = true
		f.text = "The server that keeps your session does not answer at the moment. Your session is kept for you, and this page tries again by itself every few seconds."
	}
	return f
}

// renews reports whether a page that asks again by itself repeats nothing.
func renews(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// noInstance is the fault for a choice without an instance. After an attempt in vain, what went wrong
// then is the answer, unless it was that nobody could be reached, or a page that renews itself can ask
// again: a machine that wakes finds that its connections have ended meanwhile.
func noInstance(c *balancer.Choice, method string, last error) *fault {
	switch {
	case c.None == balancer.NoneAway && (last == nil || errors.Is(last, origin.ErrDial) || renews(method)):
		return awayFault(method)
	case last != nil:
		return faultFor(last)
	}
	return faultFor(errNoUpstream)
}

// awayAnswer returns the body and its type for a fault whose session is kept: a page for
// who asks for HTML, JSON for everybody else.
func awayAnswer(f *fault, accept string) (body []byte, contentType string) {
	seconds := int(f.retry / time.Second)
	if !strings.Contains(accept, "text/html") {
		return fmt.Appendf(nil, `{"error":{"code":"session_kept","message":%q,"retry_after":%d}}`+"\n", f.text, seconds), "application/json"
	}
	refresh := ""
	if f.renews {
		refresh = fmt.Sprintf(`<meta http-equiv="refresh" content="%d">`, seconds)
	}
	return fmt.Appendf(nil, awayPage, refresh, html.EscapeString(f.text)), "text/html; charset=utf-8"
}

const awayPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">%s<title>One moment, please</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;color:#222}h1{font-size:1.4rem}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style></head>
<body><h1>One moment, please</h1><p>%s</p></body></html>
`
