package proxy_test

import (
	"crypto/tls"
	"os"
	"testing"
	"time"

	"portico/conf"
	"portico/conf/sites"
	"portico/internal/units"
	"portico/membership/catalog"
	"portico/proxy/loop"
	"portico/tests/isolation"
	"portico/tests/support/race"
)

// ways are the configurations in which bytes take different ways through the proxy.
func ways() map[string]conf.Proxy {
	all := map[string]conf.Proxy{"conn": {Engine: "conn"}}
	if loop.Supported {
		all["loop"] = conf.Proxy{Engine: "loop"}
		all["loop without ring"] = conf.Proxy{Engine: "loop", IOUring: "off"}
	}
	return all
}

// TestIsolation: nobody gets bytes that are not theirs, whatever clients and origins do. PORTICO_ISOLATION says how many seeds, or which.
func TestIsolation(t *testing.T) {
	usual := 250
	if race.Enabled {
		usual = 40
	}
	for name, c := range ways() {
		if e := os.Getenv("PORTICO_TEST_ENGINE"); e != "" && e != "auto" && e != c.Engine {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := isolation.NewWorld(t)
			w.Play(t, isolated(t, w, c), isolation.Drawn(t, usual))
		})
	}
}

// isolated starts a proxy in front of a world. Its timeouts are short, so that they strike often; a handshake
// on a busy machine takes longer than a stall needs.
func isolated(t *testing.T, w *isolation.World, c conf.Proxy) isolation.Front {
	o := options()
	c.HTTP, c.HTTPS, c.Retries = "127.0.0.1:0", "127.0.0.1:0", 2
	short := units.Duration(isolation.Timeout)
	c.Timeouts = conf.ProxyTimeouts{Header: 4 * short, Body: short, Response: short, Tunnel: short}
	o.Conf, o.TLS = c, w.ServerTLS()
	o.AgentTLS = func(string) *tls.Config { return w.OriginTLS() }
	view := &catalog.View{
		Revision: 1, Sites: map[string]*catalog.Site{}, Members: map[string]*catalog.Member{}, Instances: map[string]*catalog.Instance{},
		Releases: map[string]map[string]*catalog.Release{},
	}
	interval := units.Duration(50 * time.Millisecond)
	var static []conf.Site
	for _, s := range w.Sites() {
		if !s.Secure {
			c := site(s.Upstreams...)
			c.Name, c.Hosts, c.Session.Sticky = s.Name, []string{s.Host}, "none"
			c.Health = sites.Health{Path: "/up", Interval: interval, Timeout: units.Duration(5 * time.Second), Rise: 1, Fall: 100}
			static = append(static, c)
			continue
		}
		view.Sites[s.Name] = &catalog.Site{Name: s.Name, Release: "r", Manifest: sites.Settings{
			Front: sites.Front{Hosts: []string{s.Host}, Session: sites.Session{Sticky: "none"},
				Health: sites.Health{Path: "/up", Interval: interval, Timeout: units.Duration(5 * time.Second), Rise: 1, Fall: 100}},
		}}
		for i, addr := range s.Upstreams {
			id := s.Name + "-" + string(rune('a'+i))
			view.Members[id] = &catalog.Member{Name: id, Role: catalog.RoleServer, Admission: catalog.Accepted, Addr: addr}
			view.Instances[id] = &catalog.Instance{ID: id, Site: s.Name, Member: id, Release: "r", State: catalog.InstanceHealthy}
		}
	}
	f := start(t, o, static...)
	f.Update(view)
	for id := range view.Instances {
		f.eventually(id+" is in rotation", func() bool { return f.InRotation(id) })
	}
	return isolation.Front{Plain: f.http, Secure: f.tls, Two: true}
}
