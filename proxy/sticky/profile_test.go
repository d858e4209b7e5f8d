package sticky

import (
	"testing"

	"portico/conf/sites"
)

// Every profile that can be set is known, and no other.
func TestProfilesAreKnown(t *testing.T) {
	for _, name := range append(sites.Profiles(), "cookie:SID segment:(T( query:x header:X-Y parameter:sid") {
		if _, err := ParseProfile(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(sites.Profiles()); n != len(profiles) {
		t.Errorf("%d profiles can be set, %d are known", n, len(profiles))
	}
}
