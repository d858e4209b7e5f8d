package balancer

// Cause says why a visitor lost the instance that held the session. Its text is
// what an application reads in Portico-Session-Lost.
type Cause uint8

// The causes. CauseNone is the zero value: nothing was lost.
const (
	CauseNone     Cause = iota
	CauseExited         // the instance's process ended
	CauseMember         // the member failed its checks
	CauseNetwork        // the instance could not be reached
	CauseOperator       // an operator put it into maintenance, removed it, or moved the session
	CauseDeadline       // its release was retired, and the time for old sessions is over
	CauseKey            // the cookie's key is no longer valid
	CauseUnknown        // the cookie is sound, and nobody remembers the instance
	causes
)

var causeNames = [causes]string{"", "instance-exited", "member-failed", "network", "operator", "deadline", "expired-key", "unknown"}

// String returns the cause as a token for a header field, or "" for CauseNone.
func (c Cause) String() string {
	if c < causes {
		return causeNames[c]
	}
	return "unknown"
}

// Causes lists all causes of loss, for whoever names a counter after each.
func Causes() []Cause {
	all := make([]Cause, 0, causes-1)
	for c := CauseExited; c < causes; c++ {
		all = append(all, c)
	}
	return all
}
