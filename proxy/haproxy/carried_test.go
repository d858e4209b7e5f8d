package haproxy_test

import (
	"reflect"
	"strings"
	"testing"

	"portico/conf"
	"portico/conf/sites"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/proxy/haproxy"
)

// notForHAProxy are settings that no other proxy could follow, each with why.
var notForHAProxy = map[string]string{
	"proxy.name":        "a member's, not a listener's",
	"proxy.join":        "of the cluster",
	"proxy.fingerprint": "of the cluster",
	"proxy.invite_file": "of the cluster",
	"proxy.http":        "HAProxy listens where the export is told to",
	"proxy.https":       "HAProxy listens where the export is told to",
	"proxy.engine":      "how portico moves bytes",
	"proxy.io_uring":    "how portico moves bytes",
	"proxy.recent":      "portico's own memory of requests",
	"proxy.zone":        "a comment at each site whose servers have zones",

	"proxy.limits.sessions": "HAProxy keeps no table of sessions",

	"kind": "the agent's", "servers": "the cluster's", "run": "the agent's", "public": "the agent's", "data": "the agent's",
	"exclude": "the upload's", "user": "the agent's", "env": "the agent's", "deploy": "the deploy's",
	"hook": "the agent's", "limits.files": "the agent's", "limits.processes": "the agent's", "limits.memory": "the agent's",
	"limits.cpu": "the agent's", "limits.disk": "the agent's",
}

// TestExportCarriesEverySetting: what a proxy can be told is written for HAProxy, or
// a comment says that it is not.
func TestExportCarriesEverySetting(t *testing.T) {
	site := haproxy.StaticSite{Name: "shop", Settings: sites.Settings{Front: sites.Front{Hosts: []string{"shop.example.com"}, Path: "/app", PolicyHeader: "X-Tenant", Policy: "header"}},
		Servers: []haproxy.StaticServer{{ID: "shop/one", Name: "one", Addr: "10.1.0.1:80"}}}
	o := options(&catalog.View{Revision: 7})
	o.Proxy, o.Static, o.CertDir = conf.Default().Proxy, []haproxy.StaticSite{site}, "/certs"
	o.Certified = func(string) bool { return true }
	plain := export(t, o)
	eachSetting("proxy", reflect.ValueOf(&o.Proxy).Elem(), func(name string) {
		if export(t, o) == plain {
			t.Errorf("%s changes nothing in the export: carry it, or say so in a comment", name)
		}
	})
	eachSetting("", reflect.ValueOf(&o.Static[0].Settings).Elem(), func(name string) {
		if export(t, o) == plain {
			t.Errorf("%s changes nothing in the export: carry it, or say so in a comment", name)
		}
	})
}

// values are what a setting is changed to, where the type alone does not say it.
var values = map[string]any{
	"proxy.trusted_proxies": []string{"10.0.0.0/8"}, "proxy.proxy_protocol": []string{"10.0.0.0/8"},
	"policy": "source", "policy_header": "X-Other", "path": "/shop", "strip": true, "underscores": "pass", "protocol": "h2c", "health.type": "tcp", "health.path": "/up", "health.status": "200",
	"session.sticky": "none", "session.samesite": "strict", "session.connection": "private", "limits.rate": "5/s", "tls.mode": "off", "tls.redirect": "off",
}

// eachSetting changes one setting after the other, calls look, and changes it back.
func eachSetting(section string, v reflect.Value, look func(name string)) {
	for i := range v.NumField() {
		f := v.Field(i)
		name := strings.TrimPrefix(section+"."+v.Type().Field(i).Tag.Get("toml"), ".")
		if notForHAProxy[name] != "" {
			continue
		}
		if v.Type().Field(i).Anonymous {
			eachSetting(section, f, look)
			continue
		}
		if f.Kind() == reflect.Struct {
			eachSetting(name, f, look)
			continue
		}
		before := reflect.New(f.Type()).Elem()
		before.Set(f)
		switch want, ok := values[name]; {
		case ok:
			f.Set(reflect.ValueOf(want).Convert(f.Type()))
		case f.Kind() == reflect.String:
			f.SetString("x")
		case f.Kind() == reflect.Bool:
			f.SetBool(!f.Bool())
		case f.Type() == reflect.TypeFor[units.Duration]():
			f.SetInt(f.Int() + 7e9)
		case f.CanInt():
			f.SetInt(f.Int() + 7)
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.String:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			f.Index(0).SetString("changed.example.com")
		default:
			panic(name + " is of a type that the test cannot change")
		}
		look(name)
		f.Set(before)
	}
}
