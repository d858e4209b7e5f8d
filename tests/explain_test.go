package tests

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/proxy/recent"
	"portico/tests/harness"
)

// TestExplainAfterwards: a request that failed is told step by step when it is over, and any request can be explained before.
func TestExplainAfterwards(t *testing.T) {
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.Must("deploy", "handbook", harness.App("static"), "--host", "docs.test")
	settled(t, p, "handbook", 1)
	v := harness.NewVisitor(t, p.HTTP, "docs.test")
	if _, _, err := visitOK(v, "/?token=secret"); err != nil {
		t.Fatal(err)
	}
	if out := p.Must("explain", "http://docs.test/", "--cookie", v.Cookie("portico-handbook")); !strings.Contains(out, "its session is there") {
		t.Errorf("%s", out)
	}
	if out := p.Must("explain", "http://docs.test/", "--method", "TRACE", "--from", "192.0.2.7", "--header", "Accept: text/html"); !strings.Contains(out, "405") {
		t.Errorf("%s", out)
	}
	p.Must("maint", "server-1", "--yes")
	harness.Eventually(t, time.Minute, func() error {
		resp, _, err := v.Do(http.MethodGet, "/page", nil)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
			return errf("%v %v", resp, err)
		}
		return nil
	})
	var failed []recent.Exchange
	harness.Eventually(t, time.Minute, func() error {
		if p.JSON(&failed, "explain", "--recent", "--errors", "--site", "handbook", "--json"); len(failed) == 0 {
			return errf("no failure is remembered")
		}
		return nil
	})
	e := failed[0]
	out := p.Must("explain", "--recent", "--id", e.ID[:8])
	for _, want := range []string{e.ID, "GET http://docs.test/page", "503", "FAILED", "no instance: ", "answered with status 503"} {
		if !strings.Contains(out, want) {
			t.Errorf("the explanation lacks %q:\n%s", want, out)
		}
	}
	if all := p.Must("explain", "--recent"); !strings.Contains(all, "http://docs.test/?…") || strings.Contains(all, "secret") {
		t.Errorf("the last requests:\n%s", all)
	}
	if r := p.CLI("explain"); r.Code != 2 {
		t.Errorf("explain without a URL: exit %d", r.Code)
	}
}
