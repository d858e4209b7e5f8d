package admin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"portico/balancer/figures"
	"portico/deployhook"
	"portico/proxy/admin"
	"portico/proxy/admin/api"
)

// TestOneSiteIsLookedAtAlone: what is asked of one site, or set, looks at no other, neither here nor at the other proxies. The answer to a
// change of one of 5,000 sites looked at all of them, which was half of what the change cost.
func TestOneSiteIsLookedAtAlone(t *testing.T) {
	var seen looks
	e := start(t, seen.count(t))
	e.snap.Pools[0].Upstreams[1].Release, e.snap.Pools[0].Upstreams[1].Retiring = digest("a"), true
	e.instances(t)
	for _, tt := range []struct{ method, path, body, want string }{
		{"POST", "/v1/sites/shop", `{"policy":"round-robin"}`, `"sessions":84`},
		{"POST", "/v1/sites/shop?dry_run=1", `{"policy":"round-robin"}`, `"action":"set"`},
		{"GET", "/v1/sites/shop", "", `"sessions":84`},
		{"GET", "/v1/sites/shop", "", `"certificates":[{"names":["shop.example.com"]`},
		{"GET", "/v1/sites/shop/forecast?no_pin=1", "", `"sessions":42`},
		{"DELETE", "/v1/sites/shop?dry_run=1", "", `"sessions":84`},
		{"POST", "/v1/sites/shop/rollback?dry_run=1", `{"release":"aaaaaa","no_pin":true}`, `"sessions":42`},
		{"POST", "/v1/sites/shop/releases/aaaaaa/drain?dry_run=1", `{"now":true}`, `"sessions":42`},
		{"POST", "/v1/sites/shop/instances/abcd/maint?dry_run=1", "", `"sessions":42`},
		{"GET", "/v1/sessions?site=shop", "", `"sessions":42`},
	} {
		seen = looks{}
		resp, body := e.request(tt.method, tt.path, e.tokens["admin"], tt.body)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s: status %d, the answer lacks %s: %s", tt.method, tt.path, resp.StatusCode, tt.want, body)
		}
		seen.wantShopOnce(t, tt.method+" "+tt.path)
	}
	b := e.login("admin")
	seen = looks{}
	if resp, body := b.get("/stats/sites/shop"); resp.StatusCode != http.StatusOK || !strings.Contains(body, ">42<") {
		t.Errorf("the page of the site: status %d: %s", resp.StatusCode, body)
	}
	seen.wantShopOnce(t, "the page of the site")

	seen = looks{}
	if e.request("GET", "/v1/sites/none", e.tokens["admin"], ""); seen.all > 0 {
		t.Error("the refusal of a name that no site has looks at all sites")
	}
}

// TestQuestionsAskOnce: a question of the page asks the other proxies once, also for two forecasts. Without a forecast it asks nobody.
func TestQuestionsAskOnce(t *testing.T) {
	var seen looks
	e := start(t, seen.count(t))
	b := e.login("admin")
	e.instances(t)
	for _, query := range []string{
		"verb=deploy&site=shop", "verb=remove&site=shop", "verb=rollback&site=shop&release=" + digest("a"), "verb=cut&site=shop&release=" + digest("a"),
		"verb=maint&site=shop&instance=" + instance,
	} {
		seen = looks{}
		if resp, body := b.get("/stats/confirm?" + query); resp.StatusCode != http.StatusOK || !strings.Contains(body, `class="forecast `) {
			t.Errorf("%s: status %d, no forecast: %s", query, resp.StatusCode, body)
		}
		seen.wantShopOnce(t, query)
	}
	for query, times := range map[string]int{"verb=drain&member=app-1": 1, "verb=accept&member=newbie": 0, "verb=cancel&site=shop": 0, "verb=deploy": 0} {
		seen = looks{}
		if resp, body := b.get("/stats/confirm?" + query); resp.StatusCode != http.StatusOK || strings.Contains(body, `class="forecast `) != (times > 0) {
			t.Errorf("%s: status %d: %s", query, resp.StatusCode, body)
		}
		if seen.all != times || len(seen.asked) != times || len(seen.looked) > 0 {
			t.Errorf("%s looks at all sites %d times, at %q, and asks the other proxies %q", query, seen.all, seen.looked, seen.asked)
		}
	}
}

// looks counts how often the traffic of this proxy is looked at, and the other proxies are asked for theirs.
type looks struct {
	all           int
	looked, asked []string // sites; questions
}

// count has the looks counted. The other proxy has two sessions more on each instance of the site shop.
func (l *looks) count(t *testing.T) func(*admin.Options) {
	return func(o *admin.Options) {
		snapshot, pool := o.Snapshot, o.Pool
		o.Snapshot = func() figures.Proxy { l.all++; return snapshot() }
		o.Certificates = func() []api.Certificate { l.all++; return nil }
		o.CertificatesOf = func(hosts []string) (list []api.Certificate) {
			for _, h := range hosts {
				list = append(list, api.Certificate{Names: []string{h}, State: "valid"})
			}
			return list
		}
		o.Pool = func(site string) (figures.Pool, bool) { l.looked = append(l.looked, site); return pool(site) }
		o.AskOthers = func(_ context.Context, what string, in any) []deployhook.OtherAnswer {
			if what != "counts" {
				return nil
			}
			q, err := json.Marshal(in)
			if err != nil {
				t.Error(err)
			}
			l.asked = append(l.asked, string(q))
			return []deployhook.OtherAnswer{{Proxy: "proxy-2", Body: json.RawMessage(`{"` + instance + `":{"sessions":2},"i-app-2":{"sessions":2}}`)}}
		}
	}
}

func (l *looks) wantShopOnce(t *testing.T, what string) {
	t.Helper()
	if l.all > 0 || !slices.Equal(l.looked, []string{"shop"}) || !slices.Equal(l.asked, []string{`{"site":"shop"}`}) {
		t.Errorf("%s looks at all sites %d times, at %q, and asks the other proxies %q", what, l.all, l.looked, l.asked)
	}
}

// TestCountsOfOneSite: another proxy is answered what it asks for; an earlier version asks for all.
func TestCountsOfOneSite(t *testing.T) {
	e := start(t, nil)
	e.snap.Pools[1].Upstreams[0].ID = "i-blog"
	for in, want := range map[string]int{`{"site":"shop"}`: 2, `{"site":"none"}`: 0, `{}`: 3} {
		out, err := e.admin.AnswerPeer("counts", json.RawMessage(in))
		if err != nil {
			t.Fatal(err)
		}
		data, _ := json.Marshal(out)
		var counts map[string]any
		if json.Unmarshal(data, &counts) != nil || len(counts) != want {
			t.Errorf("asked %s, the answer is %s", in, data)
		}
	}
}
