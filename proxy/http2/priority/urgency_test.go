package priority

import "testing"

// TestPriorities: what the field says (RFC 9218, 4 and 5).
func TestPriorities(t *testing.T) {
	for text, want := range map[string]Urgency{
		"": {3, false}, "u=0": {0, false}, "u=7, i": {7, true}, "i": {3, true}, " i , u=1 ": {1, true}, "u=8": {3, false}, "u=-1": {3, false}, "i=?0": {3, false},
		"i=?1;x=y,u=2;z": {2, true}, "u=1,u=5": {5, false}, "x=\"u=2\"": {3, false}, "u=10": {3, false}, ",,,": {3, false},
	} {
		if got := Parse([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
