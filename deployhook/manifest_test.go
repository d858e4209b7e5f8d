package deployhook_test

import (
	"strings"
	"testing"

	"portico/deployhook"
	"portico/membership/catalog"
)

// Whatever is wrong with a manifest is told in one go: keys that nobody knows and values
// that cannot be.
func TestManifestMistakesAtOnce(t *testing.T) {
	var s catalog.Settings
	err := deployhook.DecodeManifest("portico.toml", []byte("hosts = [\"http://bad host/\", \"good.test\"]\nhelth = 1\npolicy = \"best\"\n"), &s)
	for _, want := range []string{"http://bad host/", "helth", `"best"`, "portico.toml:1:10:", "portico.toml:2:1:", "portico.toml:3:10:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told of: %v", want, err)
		}
	}
	s = catalog.Settings{}
	if err := deployhook.DecodeManifest("portico.toml", []byte("hosts = [\"good.test\"]\n"), &s); err != nil || len(s.Hosts) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}
