package exchangetest

import (
	"testing"

	"portico/proxy/exchange/exchangetest/rig"
)

// behaviours are the cases that a table cannot say.
var behaviours = map[string]func(*testing.T, rig.Maker){
	"continue":             continues,
	"continue refused":     continueRefused,
	"continue late":        continueLate,
	"continue over":        continueOver,
	"continue kept":        continueKept,
	"continue for nothing": continueForNothing,
	"tunnel":               tunnel,
	"counting":             counting,
	"counting tunnel":      countingTunnel,
	"wrong accept":         wrongAccept,
	"half-close":           halfClose,
	"half a tunnel":        halfLeft,
	"half stalled":         halfStalled,
	"half a stream":        halfStream,
	"retry":                retry,
	"all down":             allDown,
	"post once":            postOnce,
	"stale":                stale,
	"unread":               unread,
	"reuse":                reuse,
	"ends":                 ends,
	"origin ends":          originEnds,
	"drain":                drain,
	"stop accepting":       stopAccepting,
	"early":                early,
	"slow head":            slowHead,
	"slow body":            slowBody,
	"silent origin":        silentOrigin,
	"slow reader":          slowReader,
	"retired":              retired,
	"leftovers":            leftovers,
	"surplus":              surplus,
	"cut early":            cutEarly,
	"cut behind whole":     cutBehindWhole,
	"proxy in":             proxyIn,
	"proxy out":            proxyOut,
	"park":                 park,
	"park woken":           parkWoken,
	"client leaves":        clientLeaves,
	"limit":                connLimit,
	"names":                names,
	"both ways":            bothWays,
	"tls":                  overTLS,
	"handshakes":           handshakes,
	"handshake time":       handshakeTime,
	"tls upstream":         toTLS,
	"tls pause":            pauseTLS,
	"tls end":              endTLS,
	"revoked answer":       revokedAnswer,
	"revoked upload":       revokedUpload,
	"revoked tunnel":       revokedTunnel,
	"revoked connect":      revokedConnect,
	"bound":                bound,
	"bound by a ticket":    boundTicket,
	"bound ends":           boundEnds,
	"bound to several":     boundSites,
	"bound and retired":    boundRetired,
	"private":              private,
	"private ends":         privateEnds,
	"urgent":               urgent,
	"owed":                 owed,
	"owed stop":            owedStop,
	"urgent body":          urgentBody,
	"slow sides":           slowSides,
	"faint sides":          faintSides,
	"trickle":              trickle,
}

// Run runs the table and everything that a table cannot say.
func Run(t *testing.T, mk rig.Maker) {
	t.Run("table", func(t *testing.T) { RunTable(t, mk) })
	for name, f := range behaviours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, mk)
		})
	}
}
