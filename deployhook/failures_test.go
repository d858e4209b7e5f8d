package deployhook_test

import (
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/deployhook"
	"portico/internal/units"
	"portico/membership/catalog"
)

// A release that is broken everywhere is told once with the servers' names; what only one server
// says is told beside it, also by a server that had to stop because another failed first.
func TestFailuresAreGrouped(t *testing.T) {
	failed := func(detail, latency, log string) *catalog.MemberProgress {
		took, err := time.ParseDuration(latency)
		if err != nil {
			t.Fatal(err)
		}
		return &catalog.MemberProgress{
			Step: catalog.StepFailed, Detail: detail,
			Probe: &catalog.Probe{Code: "L7STS", Status: 500, Latency: units.Duration(took)},
			Log:   []string{"2026-01-01 12:00:0" + latency[:1] + " [" + latency[:1] + "17] starting", log},
		}
	}
	s := situation(sites.Settings{}, "failed", "failed", "failed", "failed", "starting", "starting")
	s.Servers[0].Report = failed("not healthy within 10s: status 500 after 2ms from 127.0.0.1:4711", "2ms", "[117] no database")
	s.Servers[1].Report = failed("not healthy within 10s: status 500 after 31ms from 127.0.0.1:39000", "31ms", "[4f2] no database")
	s.Servers[2].Report = failed("the process ended: exit status 3", "2ms", "no licence")
	s.Servers[3].Report = failed("the process ended: exit status 3", "2ms", "no memory")
	s.Servers[4].Report.Detail = "not healthy yet: connection refused"
	d := deployhook.Plan(s)
	if d.State != catalog.DeployFailed {
		t.Fatalf("the deploy is %s", d.State)
	}
	lines := strings.Split(d.Error, "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "on 2 servers (web1, web2): not healthy within 10s") ||
		!strings.HasPrefix(lines[1], "web3: the process ended") || !strings.HasPrefix(lines[2], "web4: the process ended") {
		t.Errorf("the error is\n%s", d.Error)
	}
	if got := d.Members["web5"].Detail; got != "stopped, because web1 failed; it was starting, and said: not healthy yet: connection refused" {
		t.Errorf("web5: %q", got)
	}
	if got := d.Members["web6"].Detail; got != "stopped, because web1 failed" {
		t.Errorf("web6: %q", got)
	}

	many := map[string]catalog.MemberProgress{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"} {
		many[name] = catalog.MemberProgress{Step: catalog.StepFailed, Detail: "disk full"}
	}
	if groups := deployhook.Failures(many); len(groups) != 1 || groups[0].Who() != "on 12 servers (a, b, c, d, e, f, g, h, i, j, …)" {
		t.Errorf("%+v", groups)
	}
}

// A failed deploy told its last check two or three times: in the agent's own words, and once or twice behind them.
func TestLastCheckIsToldOnce(t *testing.T) {
	status := catalog.Probe{Code: "L7STS", Status: 500, Latency: units.Duration(3 * time.Millisecond), Error: "status 500 is not among those that health.status names"}
	refused := catalog.Probe{Code: "L4CON", Error: "connection refused: nothing listens there"}
	silent := catalog.Probe{Code: "L7TOUT", Latency: units.Duration(time.Second), Error: "no answer within 1s"}
	for _, tt := range []struct {
		detail string
		probe  catalog.Probe
		once   string
	}{
		{"not healthy within 4s (deploy.timeout): the last check of GET /healthz: L7STS, status 500, 3ms: " + status.Error, status, status.Error},
		{"not healthy within 4s (deploy.timeout): the last check of GET /healthz: L4CON, 0s: " + refused.Error, refused, "refused"},
		{"not healthy within 4s (deploy.timeout): the last check of GET /healthz: L7TOUT, 1s: " + silent.Error, silent, silent.Error},
		{"the process ended: exit status 3 before it was healthy", refused, "L4CON after 0s: " + refused.Error},
		{"not healthy within 10s", status, "L7STS, status 500 after 3ms: " + status.Error},
		{"", silent, "it failed; last check: L7TOUT after 1s: " + silent.Error},
	} {
		s := situation(sites.Settings{}, "failed", "failed")
		for i := range s.Servers {
			s.Servers[i].Report = &catalog.MemberProgress{Step: catalog.StepFailed, Detail: tt.detail, Probe: &tt.probe}
		}
		text := deployhook.Plan(s).Error
		if strings.Count(text, tt.once) != 1 || strings.Count(text, "last check") != 1 || !strings.HasPrefix(text, "on 2 servers (web1, web2): ") {
			t.Errorf("%q with %+v:\n%s", tt.detail, tt.probe, text)
		}
	}
	if got := deployhook.LastCheck(catalog.MemberProgress{Detail: "disk full", Probe: &catalog.Probe{OK: true, Code: "L7OK"}}); got != "" {
		t.Errorf("a check that found nothing wrong is told: %q", got)
	}
}
