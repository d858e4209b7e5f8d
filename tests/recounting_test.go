package tests

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestCrashSaysRecounting: after a crash of the proxy the numbers of sessions begin anew. Members, sites and statistics
// showed a plain 0, by which somebody would have switched a full server off.
func TestCrashSaysRecounting(t *testing.T) {
	t.Parallel()
	p, _ := withSessions(t)
	for _, crash := range []bool{false, true} {
		if crash {
			p.Kill()
		} else {
			p.Stop()
		}
		p.Restart()
		p.WaitReady()
		settled(t, p, "shop", 1)
		for _, path := range []string{"/v1/members", "/v1/sites", "/v1/sites/shop", "/v1/sessions", "/v1/stats", "/stats", "/stats/sites/shop"} {
			status, body := p.API(http.MethodGet, path, nil)
			if status != http.StatusOK || regexp.MustCompile(`"recounting": ?true|>recounting<`).MatchString(body) != crash {
				t.Errorf("crash %v: %s answers %d and says recounting: %v", crash, path, status, !crash)
			}
		}
		for _, command := range [][]string{{"members"}, {"sites"}, {"sessions"}, {"stats"}, {"top", "--count", "1"}} {
			if out := p.Must(command...); strings.Contains(out, "0 recounting") != crash || strings.Contains(out, "there may be more") != crash {
				t.Errorf("crash %v: portico %s says\n%s", crash, strings.Join(command, " "), out)
			}
		}
	}
}
