package upload_test

import (
	"strings"
	"testing"

	"portico/conf/sites"
	"portico/deployhook/upload"
)

// Whatever is wrong with a manifest is told in one go: keys that nobody knows and values
// that cannot be.
func TestManifestMistakesAtOnce(t *testing.T) {
	var s sites.Settings
	err := upload.DecodeManifest("portico.toml", []byte("hosts = [\"http://bad host/\", \"good.test\"]\nhelth = 1\npolicy = \"best\"\n"), &s)
	for _, want := range []string{"http://bad host/", "helth", `"best"`, "portico.toml:1:10:", "portico.toml:2:1:", "portico.toml:3:10:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told of: %v", want, err)
		}
	}
	s = sites.Settings{}
	if err := upload.DecodeManifest("portico.toml", []byte("hosts = [\"good.test\"]\n"), &s); err != nil || len(s.Hosts) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestManifestCPU: the edges of limits.cpu as a manifest writes them. TOML, unlike
// JSON, has numbers that are none; they must not come as far as the catalog.
func TestManifestCPU(t *testing.T) {
	for text, want := range map[string]string{
		"0": "", "2": "", "1.5": "", "0.01": "", "10000": "", "1e4": "",
		"0.0099": "limits.cpu = 0.0099", "10001": "limits.cpu = 10001", "-1": "limits.cpu = -1",
		"nan": "cpu is NaN", "inf": "cpu is +Inf", "-inf": "cpu is -Inf",
		`"1.5"`: "write a number",
	} {
		var s sites.Settings
		var told []string
		if err := upload.DecodeManifest("portico.toml", []byte("[limits]\ncpu = "+text+"\n"), &s); err != nil {
			told = append(told, err.Error())
		}
		for _, err := range s.Validate() {
			told = append(told, err.Error())
		}
		if got := strings.Join(told, "\n"); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("cpu = %s: %q, want %q", text, got, want)
		}
	}
}
