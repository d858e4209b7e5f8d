package tests

import (
	"encoding/json"
	"strings"
	"testing"

	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// TestDryRunOfEveryVerb: what cuts or moves sessions says so first and changes nothing, on the terminal and as JSON, with
// numbers that are those of the visitors who were there.
func TestDryRunOfEveryVerb(t *testing.T) {
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "shop", harness.App("node"), "--host", "shop.test")
	settled(t, p, "shop", 2)
	vs, _ := visitors(t, p.HTTP, "shop.test", "/", 3)
	first := releases(p, "shop")[0].Digest
	second := changed(t, harness.App("node"), "news.txt", "second")
	p.Must("deploy", "shop", second)
	settled(t, p, "shop", 2)
	more, seen := visitors(t, p.HTTP, "shop.test", "/", 4)
	third := changed(t, harness.App("node"), "news.txt", "third")
	before := p.Must("sites", "show", "shop") + p.Must("members", "--json")

	var counts []api.SessionCount
	p.JSON(&counts, "sessions", "shop", "--json")
	on := map[string]int64{} // by server, and by instance
	instance := ""
	for _, n := range counts {
		on[n.Member] += n.Sessions
		if n.Release != first && n.Member == "server-1" {
			instance = n.Instance
			on[instance] = n.Sessions
		}
	}
	server, all := on["server-1"], int64(len(vs)+len(more))
	for _, tt := range []struct {
		args       []string
		cuts, keep int64
	}{
		{[]string{"rollback", "shop"}, 0, 4},
		{[]string{"rollback", "shop", "--no-pin"}, 4, 0},
		{[]string{"rollback", "shop", first[:8]}, 0, 4},
		{[]string{"drain", "server-1"}, 0, server},
		{[]string{"drain", "server-1", "--now"}, server, 0},
		{[]string{"drain", "shop/" + instance}, 0, on[instance]},
		{[]string{"drain", "shop/" + instance, "--now"}, on[instance], 0},
		{[]string{"drain", "shop@" + first[:12]}, 0, 3},
		{[]string{"drain", "shop@" + first[:12], "--now"}, 3, 0},
		{[]string{"maint", "server-1"}, server, 0},
		{[]string{"maint", "shop/" + instance}, on[instance], 0},
		{[]string{"revoke", "server-1"}, server, 0},
		{[]string{"remove", "shop"}, all, 0},
	} {
		name := strings.Join(tt.args, " ")
		var f api.Forecast
		if err := json.Unmarshal([]byte(p.Must(append(tt.args, "--dry-run", "--json")...)), &f); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if f.Sessions != tt.cuts || f.Keeps != tt.keep {
			t.Errorf("%s: cuts %d and keeps %d, want %d and %d", name, f.Sessions, f.Keeps, tt.cuts, tt.keep)
		}
		if out := p.Must(append(tt.args, "--dry-run")...); !strings.HasPrefix(out, f.Message+"\n") || strings.Count(out, "\n") != 1+len(f.Notes) {
			t.Errorf("%s says %q, as JSON %q", name, out, f.Message)
		}
	}
	for _, tt := range []struct{ flag, want string }{{"", "4 sessions would stay on the present release"}, {"--no-pin", "4 sessions would lose their instance"}} {
		args := []string{"deploy", "shop", third, "--dry-run"}
		if tt.flag != "" {
			args = append(args, tt.flag)
		}
		if out := p.Must(args...); !strings.Contains(out, tt.want) {
			t.Errorf("%v says %q", args, out)
		}
	}
	if after := p.Must("sites", "show", "shop") + p.Must("members", "--json"); stripVolatile(after) != stripVolatile(before) {
		t.Errorf("a dry run has changed\n%s\nto\n%s", before, after)
	}
	stay(t, more, seen, "/")
	if out := p.Must("deploy", "fresh", third, "--host", "fresh.test", "--dry-run"); !strings.Contains(out, "no session is concerned") || strings.Contains(out, "present release") {
		t.Errorf("a dry run of a new site says %q", out)
	}
	if r := p.CLI("explain", "--recent=x"); r.Code != 2 || !strings.Contains(r.Stderr, "takes no value") || strings.Contains(r.Stderr, "strconv") {
		t.Errorf("a flag that takes no value: %d %s", r.Code, r.Stderr)
	}
	if r := p.CLI("sessions", "shop", "--limit", "many"); r.Code != 2 || !strings.Contains(r.Stderr, "a number is wanted") {
		t.Errorf("a flag that takes a number: %d %s", r.Code, r.Stderr)
	}
	p.Must("deploy", "fresh", third, "--host", "fresh.test")
	p.Must("deploy", "fresh", harness.App("node"), "--host", "fresh.test", "--no-pin") // nobody is there to be cut: no --yes
}

// stripVolatile leaves out the lines that tell time and counts.
func stripVolatile(text string) string {
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.Contains(line, "\"at\"") && !strings.Contains(line, "changed") && !strings.Contains(line, "_ms") && !strings.Contains(line, "heard") && !strings.Contains(line, "free") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}
