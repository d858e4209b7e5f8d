package fault

import (
	"net/http"

	"portico/balancer"
)

// SessionEnded is the page that tells a visitor of the lost session; cookie says that it was shown.
func SessionEnded(why balancer.Cause, cookie string) *Fault {
	return &Fault{Status: http.StatusOK, Cause: 'L', Phase: 'R', page: endedPage(why), Cookie: cookie}
}

// endedPage tells of a loss. It holds nothing that came with the request.
func endedPage(why balancer.Cause) string {
	return endedHead + endedReason(why) + endedTail
}

// endedReason says for visitors why a session was lost.
func endedReason(why balancer.Cause) string {
	switch why {
	case balancer.CauseDeadline:
		return "It was on a server, or a version of this site, that is taken out of service, and the time to finish there is over."
	case balancer.CauseOperator:
		return "The server that held it was taken out of service."
	}
	return "The server that held it is not available any more."
}

// The empty address is that of the page itself.
const endedHead = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Your session has ended</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;color:#222}h1{font-size:1.4rem}a{color:inherit}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style></head>
<body><h1>Your session has ended</h1><p>`

const endedTail = ` What you had not saved there may be lost, and you may have to log in again.</p>
<p><a href="">Continue</a></p></body></html>
`
