package sites_test

import (
	"testing"

	"portico/conf/sites"
)

// TestQuestions: whoever checks in another protocol asks something else; members of versions that know no protocol check in HTTP/1.1.
func TestQuestions(t *testing.T) {
	ask := func(protocol, path string) string {
		return sites.Front{Protocol: protocol, Health: sites.Health{Type: "http", Path: path, Status: "200-399"}}.Question()
	}
	const before = "27e3ecddf2bbf714" // of a version without the setting
	if got := ask("", "/"); got != before || ask("http/1.1", "/") != got {
		t.Errorf("HTTP/1.1 asks %s and %s, want %s", got, ask("http/1.1", "/"), before)
	}
	if ask("h2c", "/") == before || ask("", "/other") == before {
		t.Error("another protocol or path is the same question")
	}
}
