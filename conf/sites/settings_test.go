package sites_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/internal/units"
)

func TestDefaults(t *testing.T) {
	s := sites.Settings{Front: sites.Front{Hosts: []string{"*.example.com", "shop.example.com."}, Path: "/shop/"}}.WithDefaults("shop")
	if s.Kind != sites.KindStatic || s.Public != "." || s.Path != "/shop" || s.Health.Path != "/shop" || s.Health.Host != "shop.example.com" ||
		s.Session.Cookie != "portico-shop" || s.Policy != "least-sessions" || s.Limits.Body != 64<<20 || s.Deploy.Pin.Std() != 8*time.Hour ||
		s.Health.Timeout != s.Health.Interval || s.TLS.Mode != "auto" {
		t.Errorf("%+v", s)
	}
	if again := s.WithDefaults("shop"); !reflect.DeepEqual(again, s) {
		t.Errorf("defaults of defaults differ:\n%+v\n%+v", s, again)
	}
	if errs := s.Validate(); len(errs) > 0 {
		t.Error("the defaults are not valid:", errs)
	}
	for want, in := range map[sites.Kind]sites.Settings{
		sites.KindRun: {Run: []string{"./x"}}, sites.KindHook: {Hook: sites.Hook{Port: 80}}, sites.KindTomcat: {Kind: sites.KindTomcat},
	} {
		if got := in.WithDefaults("x"); got.Kind != want || got.Path != "/" || got.Health.Host != "localhost" {
			t.Errorf("%v: %+v", want, got)
		}
	}
	if got := (sites.Settings{Front: sites.Front{Rewrite: []sites.Rewrite{}}}).WithDefaults("x").Rewrite; got == nil || len(got) > 0 || !reflect.DeepEqual(s.Rewrite, sites.Rewrites()) {
		t.Errorf("nothing to rewrite became %q, and what is not set %q", got, s.Rewrite)
	}
	set := sites.Settings{Kind: sites.KindRun, Run: []string{"x"}, Front: sites.Front{Session: sites.Session{Idle: units.Duration(time.Hour), Cookie: "c"}}}
	if got := set.WithDefaults("x"); got.Session.Idle.Std() != time.Hour || got.Session.Cookie != "c" {
		t.Errorf("what was set has changed: %+v", got.Session)
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	for _, tt := range []struct {
		settings string
		want     []string // each of the mistakes, in order
	}{
		{`{}`, nil},
		{`{"kind":"run","run":["./x"],"hosts":["a.example.com","*.example.com","192.0.2.1"],"path":"/a/b","env":{"A_1":"x"},"data":["up/loads"],"limits":{"rate":"100/s","memory":"64MiB"},"health":{"status":"200-399,401"}}`, nil},
		{`{"kind":"app"}`, []string{`"app"`}},
		{`{"kind":"run"}`, []string{"run ="}},
		{`{"kind":"hook"}`, []string{"[hook]"}},
		{`{"kind":"static","run":["x"]}`, []string{"static"}},
		{`{"run":["x"],"hook":{"port":80}}`, []string{"both"}},
		{`{"hosts":["http://a","a:80","*","*.com","A.example.com","a..b","-a.b","bücher.example","b.example.com","b.example.com"]}`,
			[]string{"http://a", "a:80", `"*"`, "*.com", "capitals", "a..b", "-a.b", "xn--", "twice"}},
		{`{"path":"shop"}`, []string{"shop"}},
		{`{"path":"/a/../b"}`, []string{"/a/../b"}},
		{`{"path":"/a//b"}`, []string{"/a//b"}},
		{`{"path":"/a%2fb"}`, []string{"%2fb"}},
		{`{"public":"../x","data":["/etc","..","."],"exclude":["[a"]}`, []string{"public", "/etc", `".."`, `"."`, "[a"}},
		{`{"env":{"1A":"x","PORT":"1","PORTICO_X":"","OK":"a\u0000b"}}`, []string{"1A", "OK", "PORT", "PORTICO_X"}},
		{`{"user":"root"}`, []string{"root"}},
		{`{"user":"-x"}`, []string{"-x"}},
		{`{"health":{"type":"udp","path":"x","status":"0-9","interval":"1ms","rise":-1,"host":"a b"}}`, []string{"udp", "health.path", "health.host", "0-9", "interval", "rise"}},
		{`{"session":{"sticky":"ip","samesite":"maybe","cookie":"a b;","idle":"1ms","max":-1,"profile":"a/b"}}`, []string{`"ip"`, "maybe", "a b;", "idle", "max", "a/b"}},
		{`{"session":{"cookie":"__Host-portico-admin"}}`, []string{"admin page"}},
		{`{"deploy":{"keep":-1,"timeout":"1ms","wave":-2},"limits":{"rate":"lots","memory":"1KiB","connections":-1},"policy":"best","tls":{"mode":"x","redirect":"y"}}`,
			[]string{"best", "tls.mode", "tls.redirect", "wave", "keep", "timeout", "connections", "lots", "memory"}},
		{`{"limits":{"disk":"1MiB","cpu":0.01,"memory":"4MiB"}}`, nil},
		{`{"limits":{"disk":"1048575","cpu":0.009}}`, []string{"limits.disk", "limits.cpu = 0.009"}},
		{`{"limits":{"cpu":0}}`, nil},
		{`{"limits":{"cpu":10000}}`, nil},
		{`{"limits":{"cpu":10000.01}}`, []string{"limits.cpu = 10000.01"}},
		{`{"limits":{"cpu":-0.01}}`, []string{"limits.cpu = -0.01"}},
		{`{"policy":"header","policy_header":"X-Tenant","policy_bound":125,"slow_start":"30s"}`, nil},
		{`{"policy":"round-robin","policy_header":"X-Tenant"}`, nil},
		{`{"policy":"header"}`, []string{"policy_header is missing"}},
		{`{"policy":"header","policy_header":"X Tenant:","policy_bound":100,"slow_start":"2h"}`, []string{"X Tenant:", "policy_bound = 100", "slow_start"}},
		{`{"underscores":"pass"}`, nil},
		{`{"rewrite":["link","cookie-path"]}`, nil},
		{`{"rewrite":[]}`, nil},
		{`{"rewrite":["link","links",""]}`, []string{`rewrite[1] = "links" is not known: did you mean "link"? Allowed: "location",`, "rewrite[2]"}},
		{`{"underscores":"keep"}`, []string{`underscores = "keep" is not known: write one of "drop", "pass"`}},
		{`{"run":["","x"],"deploy":{"before":["a\u0000"]}}`, []string{"run begins", "deploy.before"}},
	} {
		var s sites.Settings
		if err := json.Unmarshal([]byte(tt.settings), &s); err != nil {
			t.Fatal(tt.settings, err)
		}
		errs := s.Validate()
		if len(errs) != len(tt.want) {
			t.Errorf("%s: %d mistakes, want %d: %v", tt.settings, len(errs), len(tt.want), errs)
			continue
		}
		for i, err := range errs {
			if !errors.Is(err, sites.ErrInvalid) || !strings.Contains(err.Error(), tt.want[i]) {
				t.Errorf("%s: mistake %d is %q, want %q in it", tt.settings, i, err, tt.want[i])
			}
		}
	}
}

func TestJoinAndMerge(t *testing.T) {
	manifest := sites.Settings{Front: sites.Front{Hosts: []string{"a", "b"}, Health: sites.Health{Path: "/h", Rise: 5}}, Env: map[string]string{"A": "1"}}
	got, err := sites.Join(manifest, json.RawMessage(`{"hosts":["c"],"env":{"B":"2"},"health":{"rise":1}}`))
	want := sites.Settings{Front: sites.Front{Hosts: []string{"c"}, Health: sites.Health{Path: "/h", Rise: 1}}, Env: map[string]string{"A": "1", "B": "2"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if manifest.Hosts[0] != "a" || len(manifest.Env) != 1 {
		t.Errorf("the manifest has changed: %+v", manifest)
	}
	for _, bad := range []string{`{"hots":["c"]}`, `[]`, `{} {}`, `{"health":{"rise":"many"}}`, `{`} {
		if _, err := sites.Join(manifest, json.RawMessage(bad)); !errors.Is(err, sites.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, tt := range []struct{ base, patch, want string }{
		{``, `{"a":1}`, `{"a":1}`},
		{`{"a":1,"b":{"c":2,"d":3}}`, `{"b":{"c":null},"e":[1]}`, `{"a":1,"b":{"d":3},"e":[1]}`},
		{`{"a":{"b":1}}`, `{"a":{"b":null}}`, ``},
		{`{"a":{"b":1}}`, `{"a":2}`, `{"a":2}`},
	} {
		if got, err := sites.MergeOverride(json.RawMessage(tt.base), json.RawMessage(tt.patch)); err != nil || string(got) != tt.want {
			t.Errorf("%s + %s = %s, %v; want %s", tt.base, tt.patch, got, err, tt.want)
		}
	}
	for _, bad := range []string{`null`, `[]`, `1`, ``} {
		if _, err := sites.MergeOverride(nil, json.RawMessage(bad)); !errors.Is(err, sites.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestParseStatusAndRate(t *testing.T) {
	r, err := sites.ParseStatus("200-399, 401")
	for code, want := range map[int]bool{199: false, 200: true, 304: true, 399: true, 400: false, 401: true, 402: false, -1: false, 100000: false} {
		if err != nil || r.Has(code) != want {
			t.Errorf("%d: %v, %v", code, r.Has(code), err)
		}
	}
	for _, bad := range []string{"", "99", "600", "300-200", "2xx", "200-", "-200", "200,,300", "200-300-400"} {
		if _, err := sites.ParseStatus(bad); !errors.Is(err, sites.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if n, per, err := sites.ParseRate("600/m"); n != 600 || per != time.Minute || err != nil {
		t.Error(n, per, err)
	}
	for _, bad := range []string{"", "100", "/s", "-1/s", "0/s", "+1/s", "1/d", "1/s/s", "1.5/s"} {
		if _, _, err := sites.ParseRate(bad); !errors.Is(err, sites.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{"kind":"run","run":["x"],"hosts":["a.example.com"],"path":"/x","health":{"status":"200-399"}}`))
	f.Add([]byte(`{"limits":{"rate":"1/s","body":"1MiB"},"session":{"cookie":"c"}}`))
	f.Fuzz(func(t *testing.T, override []byte) {
		s, err := sites.Join(sites.Settings{}, override)
		if err != nil || len(s.Validate()) > 0 {
			return
		}
		d := s.WithDefaults("site")
		if errs := d.Validate(); len(errs) > 0 {
			t.Errorf("valid settings have invalid defaults: %v", errs)
		}
	})
}
