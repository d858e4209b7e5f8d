package sticky

import (
	"testing"

	"portico/conf/sites"
)

// The catalog takes the profiles that the proxy knows.
func TestProfilesOfTheCatalog(t *testing.T) {
	for _, name := range append(sites.Profiles(), "cookie:SID segment:(T( query:x header:X-Y parameter:sid") {
		if _, err := ParseProfile(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(sites.Profiles()); n != len(profiles) {
		t.Errorf("the catalog knows %d profiles, the proxy %d", n, len(profiles))
	}
}
