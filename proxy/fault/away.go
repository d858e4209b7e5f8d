package fault

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

// awayRefresh is how soon a visitor should come again.
const awayRefresh = 3 * time.Second

var errAway = errors.New("the instance that keeps the session cannot be reached")

// awayFault asks a visitor to come again to the instance that keeps the session. The page
// renews itself where that repeats nothing: after a form it would lose what was sent without a word.
func awayFault(method string) *Fault {
	f := &Fault{
		Status: 503, Cause: 'S', Phase: 'C', Retry: awayRefresh, Err: errAway, kept: true,
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

// NoInstance is the fault for a choice without an instance. After an attempt in vain, what went wrong
// then is the answer, unless it was that nobody could be reached, or a page that renews itself can ask
// again: a machine that wakes finds that its connections have ended meanwhile.
func NoInstance(c *balancer.Choice, method string, last error) *Fault {
	switch {
	case c.None == balancer.NoneAway && (last == nil || errors.Is(last, origin.ErrDial) || renews(method)):
		return awayFault(method)
	case last != nil:
		return For(last)
	}
	return For(errNoUpstream)
}

// awayAnswer returns the body and its type for a fault whose session is kept: a page for
// who asks for HTML, JSON for everybody else.
func awayAnswer(f *Fault, accept string) (body []byte, contentType string) {
	seconds := int(f.Retry / time.Second)
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
