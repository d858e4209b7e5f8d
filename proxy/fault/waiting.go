package fault

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"strings"
	"time"

	"portico/balancer"
)

var errSeats = errors.New("all instances have as many sessions as session.max allows")

// Waiting tells a visitor of the place in the waiting room, which cookie keeps. Position 0: there is none.
func Waiting(p balancer.Place, cookie string) *Fault {
	f := &Fault{Status: 503, Cause: 's', Phase: 'Q', Retry: p.Refresh, place: &p, Err: errSeats, Cookie: cookie}
	if p.Position == 0 {
		f.text = "So many people are waiting for this site that there is no place in line. Please come again in a while."
		return f
	}
	f.text = fmt.Sprintf("This site has as many visitors as it can serve. You are number %d in line.", p.Position)
	return f
}

// waitingPage is what people see while they wait. It renews itself without scripts.
var waitingPage = template.Must(template.New("room").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="{{.Seconds}}"><title>Please wait</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;color:#222}h1{font-size:1.4rem}b{font-size:2rem}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style></head>
<body><h1>Please wait</h1><p>{{.Text}}</p>{{if .Position}}<p><b>{{.Position}}</b> of {{.Waiting}}</p><p>This page renews itself every {{.Seconds}} seconds. Your place is kept, also when you reload.</p>{{end}}</body></html>
`))

// waitingAnswer returns the body and its type for a fault with a place: a page for who
// asks for HTML, JSON for everybody else.
func waitingAnswer(f *Fault, accept string) (body []byte, contentType string) {
	seconds := int(f.Retry / time.Second)
	if !strings.Contains(accept, "text/html") {
		return fmt.Appendf(nil, `{"error":{"code":"waiting_room","message":%q,"position":%d,"waiting":%d,"retry_after":%d}}`+"\n",
			f.text, f.place.Position, f.place.Waiting, seconds), "application/json"
	}
	var b bytes.Buffer
	_ = waitingPage.Execute(&b, struct { // a buffer takes everything
		Text                       string
		Position, Waiting, Seconds int
	}{f.text, f.place.Position, f.place.Waiting, seconds})
	return b.Bytes(), "text/html; charset=utf-8"
}
