package forward

import (
	"portico/balancer"
	"portico/balancer/seal"
)

// cookieLetters are what the log says about the cookie that came and the one
// that was sent.
func cookieLetters(c *balancer.Choice) (seen, sent byte) {
	seen, sent = 'N', 'N'
	switch {
	case c.Pinned:
		seen = 'V'
	case c.Lost != balancer.CauseNone:
		seen = 'D'
	case c.Refused == seal.RefusedIdle:
		seen = 'E'
	case c.Refused == seal.RefusedLife:
		seen = 'O'
	case c.Refused != seal.Honoured:
		seen = 'I'
	}
	switch {
	case c.Issue && c.Pinned:
		sent = 'U'
	case c.Issue:
		sent = 'I'
	}
	return seen, sent
}
