package proxy

import (
	"bytes"
	"fmt"
	"html/template"
	"strings"
	"time"

	"portico/balancer"
)

// The waiting room: what a new visitor gets while every instance of the site has
// as many sessions as session.max allows. Who has a session never sees it.

// placeAge is how long a browser keeps the ticket after it was shown last: longer
// than the balancer keeps the place itself.
const placeAge = time.Minute

// asksTicket reports whether a request without a sticky cookie should be searched
// for a ticket of the waiting room.
func (st *site) asksTicket() bool { return st.sticky && st.maxSess > 0 }

// attend gives the visitor of a choice that found all instances full a place in
// the waiting room. A visitor who has just lost a session is told to come again,
// and goes before those who wait.
func (st *site) attend(c *balancer.Choice, ticket []byte, secure bool, now int64) error {
	if !st.sticky || c.Session != 0 {
		return errQueueFull
	}
	var buf [balancer.TicketLen]byte
	p := st.siteState.pool.Attend(buf[:0], ticket, now)
	f := &fault{status: 503, cause: 's', phase: 'Q', retry: p.Refresh, place: &p, err: errSeats}
	if p.Position == 0 {
		f.text = "So many people are waiting for this site that there is no place in line. Please come again in a while."
		return f
	}
	f.text = fmt.Sprintf("This site has as many visitors as it can serve. You are number %d in line.", p.Position)
	f.cookie = st.cookie.KeepPlace(string(p.Ticket), placeAge, secure)
	return f
}

// roomPage is what people see while they wait. It renews itself without scripts.
var roomPage = template.Must(template.New("room").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="{{.Seconds}}"><title>Please wait</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;color:#222}h1{font-size:1.4rem}b{font-size:2rem}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style></head>
<body><h1>Please wait</h1><p>{{.Text}}</p>{{if .Position}}<p><b>{{.Position}}</b> of {{.Waiting}}</p><p>This page renews itself every {{.Seconds}} seconds. Your place is kept, also when you reload.</p>{{end}}</body></html>
`))

// roomAnswer returns the body and its type for a fault with a place: a page for who
// asks for HTML, JSON for everybody else.
func roomAnswer(f *fault, accept string) (body []byte, contentType string) {
	seconds := int(f.retry / time.Second)
	if !strings.Contains(accept, "text/html") {
		return fmt.Appendf(nil, `{"error":{"code":"waiting_room","message":%q,"position":%d,"waiting":%d,"retry_after":%d}}`+"\n",
			f.text, f.place.Position, f.place.Waiting, seconds), "application/json"
	}
	var b bytes.Buffer
	_ = roomPage.Execute(&b, struct { // a buffer takes everything
		Text                       string
		Position, Waiting, Seconds int
	}{f.text, f.place.Position, f.place.Waiting, seconds})
	return b.Bytes(), "text/html; charset=utf-8"
}
