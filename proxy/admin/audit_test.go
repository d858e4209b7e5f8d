package admin_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
)

// TestAudit: each change leaves an entry that says who, from where and what.
func TestAudit(t *testing.T) {
	e := start(t, nil)
	_, _ = e.request("POST", "/v1/members/app-1/drain", e.tokens["operator"], `{"reason":"disk\nreplaced"}`)
	_, _ = e.request("POST", "/v1/members/nobody/drain", e.tokens["operator"], "")
	_, _ = e.request("POST", "/v1/members/app-1/maint?dry_run=1", e.tokens["operator"], "")
	b := e.login("admin")
	if resp, body := b.post("/stats/act", url.Values{"verb": {"accept"}, "member": {"newbie"}, "csrf": {b.csrf}}); resp.StatusCode != 303 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	entries, err := e.api(e.tokens["admin"]).Audit(context.Background(), 4)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range entries {
		got = append(got, a.By+" "+a.Action+" "+a.Object+map[bool]string{true: " failed"}[a.Failed])
		if a.From != "127.0.0.1" || a.At.IsZero() {
			t.Errorf("%+v", a)
		}
	}
	want := "admin accept member newbie|admin login admin|operator drain member nobody failed|operator drain member app-1"
	if strings.Join(got, "|") != want {
		t.Errorf("audit %q, want %q", strings.Join(got, "|"), want)
	}
	if a := e.adm.all(); len(a) != 1 || a[0] != "accept newbie admin" {
		t.Errorf("admission did %v", a)
	}
}
