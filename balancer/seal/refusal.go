package seal

// Refusal says why a sticky cookie was not honoured. A refused cookie is never
// an error: its sender becomes a new visitor.
type Refusal uint8

// The RefusalCount. Honoured is the zero value.
const (
	Honoured         Refusal = iota
	RefusedMalformed         // not of the form TOKEN or TOKEN|ISSUED|SEAL
	RefusedForged            // the MAC is wrong
	RefusedKey               // sealed with a key that is no longer valid
	RefusedToken             // no instance of this site has the token, or ever had
	RefusedIdle              // the session ended by not being used
	RefusedLife              // the session ended by its greatest age
	RefusedEnded             // an operator ended the session
	RefusedDuplicate         // several cookies of this name, and this was not the one used

	// RefusalCount is one more than the last of them, for arrays of counters.
	RefusalCount
)

var refusalNames = [RefusalCount]string{"", "malformed", "forged", "expired key", "unknown token", "idle", "life", "ended", "duplicate"}

// String returns the cause in a few words, or "" for Honoured.
func (r Refusal) String() string {
	if int(r) < len(refusalNames) {
		return refusalNames[r]
	}
	return "unknown"
}

// Refusals lists all causes, for whoever names a counter after each.
func Refusals() []Refusal {
	all := make([]Refusal, 0, RefusalCount-1)
	for r := RefusedMalformed; r < RefusalCount; r++ {
		all = append(all, r)
	}
	return all
}
