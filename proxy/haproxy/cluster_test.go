package haproxy_test

import (
	"strings"
	"time"

	"portico/balancer/seal"
	"portico/conf/sites"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/proxy/haproxy"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

func token(id string) string { return seal.NewToken(secret, id).String() }

// rotated are an instance's tokens while a fresh session key is in use.
func rotated(id string) [2]seal.Token {
	return [2]seal.Token{seal.NewToken([]byte("fedcba9876543210fedcba9876543210"), id), seal.NewToken(secret, id)}
}

func tokens(id string) [2]seal.Token {
	t := seal.NewToken(secret, id)
	return [2]seal.Token{t, t}
}

func digest(c string) string { return strings.Repeat(c, 64) }
func id(c string) string     { return strings.Repeat(c, 26) }

// cluster is a catalog with one of everything that the export has to write.
func cluster() *catalog.View {
	old, now := digest("a"), digest("b")
	return &catalog.View{
		Revision: 42, ClusterID: "test",
		Members: map[string]*catalog.Member{
			"app-1": {Name: "app-1", Role: catalog.RoleServer, Admission: catalog.Accepted, Admin: catalog.AdminReady, Addr: "10.0.0.1:7444"},
			"app-2": {Name: "app-2", Role: catalog.RoleServer, Admission: catalog.Accepted, Admin: catalog.AdminDrain, Addr: "10.0.0.2:7444", Weight: 50},
			"app-3": {Name: "app-3", Role: catalog.RoleServer, Admission: catalog.Accepted, Admin: catalog.AdminMaint, Addr: "[fd00::3]:7444"},
			"gone":  {Name: "gone", Role: catalog.RoleServer, Admission: catalog.Revoked, Addr: "10.0.0.9:7444"},
		},
		Sites: map[string]*catalog.Site{
			"shop": {Name: "shop", Release: now, Candidate: digest("c"), Retiring: []catalog.Retiring{{Release: old}}, Manifest: sites.Settings{
				Kind: sites.KindRun, Run: []string{"./shop"}, Front: sites.Front{Hosts: []string{"shop.example.com", "www.shop.example.com"},
					Health:  sites.Health{Path: "/healthz?full=1", Body: `say "fine" # $HOME`, Status: "200,301-302"},
					Session: sites.Session{Max: 50, Life: units.Duration(8 * time.Hour)}},
				Limits: sites.Limits{FrontLimits: sites.FrontLimits{Connections: 20, Rate: "100/s", Body: 1 << 20}},
			}},
			"admin": {Name: "admin", Release: now, Manifest: sites.Settings{
				Front: sites.Front{Hosts: []string{"shop.example.com"}, Path: "/admin", Strip: true, Policy: "round-robin",
					Session: sites.Session{SameSite: "none", Partitioned: true}, TLS: sites.TLS{Redirect: "on"}},
			}},
			"wild":        {Name: "wild", Release: now, Manifest: sites.Settings{Front: sites.Front{Hosts: []string{"*.example.com", "*.dev.example.com"}, Health: sites.Health{Type: "tcp"}}}},
			"docs":        {Name: "docs", Release: now, Manifest: sites.Settings{Front: sites.Front{Session: sites.Session{Sticky: "none"}}}},
			"noninstance": {Name: "noninstance", Manifest: sites.Settings{Front: sites.Front{Hosts: []string{"empty.example.org"}}}},
		},
		Instances: map[string]*catalog.Instance{
			id("a"): {ID: id("a"), Site: "shop", Release: now, Member: "app-1", State: catalog.InstanceHealthy},
			id("b"): {ID: id("b"), Site: "shop", Release: now, Member: "app-2", State: catalog.InstanceHealthy},
			id("c"): {ID: id("c"), Site: "shop", Release: now, Member: "app-3", State: catalog.InstanceHealthy},
			id("d"): {ID: id("d"), Site: "shop", Release: old, Member: "app-1", State: catalog.InstanceHealthy},
			id("e"): {ID: id("e"), Site: "shop", Release: digest("c"), Member: "app-1", State: catalog.InstanceStarting},
			id("f"): {ID: id("f"), Site: "shop", Release: now, Member: "gone", State: catalog.InstanceHealthy},
			id("g"): {ID: id("g"), Site: "shop", Release: now, Member: "app-1", State: catalog.InstanceExited},
			id("h"): {ID: id("h"), Site: "admin", Release: now, Member: "app-1", State: catalog.InstanceHealthy},
			id("i"): {ID: id("i"), Site: "wild", Release: now, Member: "app-2", State: catalog.InstanceHealthy},
			id("j"): {ID: id("j"), Site: "docs", Release: now, Member: "app-1", State: catalog.InstanceHealthy, Unpinned: true},
		},
	}
}

// hostile is a catalog that no store would accept, with names made to break
// out of their place in a configuration file.
func hostile() *catalog.View {
	evil := "x\n    use_backend admin if TRUE #\"'\\$HOME\r\n\x00\x1b[31m"
	v := &catalog.View{Revision: 1,
		Members: map[string]*catalog.Member{
			evil:  {Name: evil, Admission: catalog.Accepted, Addr: "10.0.0.1:7444"},
			"bad": {Name: "bad", Admission: catalog.Accepted, Addr: "10.0.0.1:7444 disabled\n"},
		},
		Sites: map[string]*catalog.Site{
			evil: {Name: evil, Release: "r", Manifest: sites.Settings{
				Front: sites.Front{Hosts: []string{evil, "ok.example.com", "*." + evil}, Path: "/p", Policy: sites.Policy(evil),
					Health:  sites.Health{Path: "/" + evil, Host: evil + "%[env(PATH)]", Status: evil, Body: evil},
					Session: sites.Session{Cookie: evil, Profile: evil}}, Limits: sites.Limits{FrontLimits: sites.FrontLimits{Rate: evil}},
			}},
			"path": {Name: "path", Release: "r", Manifest: sites.Settings{Front: sites.Front{Path: "/a b#" + evil}}},
		},
		Instances: map[string]*catalog.Instance{
			evil:    {ID: evil, Site: evil, Release: "r", Member: evil, State: catalog.InstanceHealthy},
			id("b"): {ID: id("b"), Site: evil, Release: "r", Member: "bad", State: catalog.InstanceHealthy},
		},
	}
	return v
}

func options(v *catalog.View) haproxy.Options {
	return haproxy.Options{View: v, Tokens: tokens, Version: "test"}
}
