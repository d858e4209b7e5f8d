package certs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// asking is a manager that would ask a directory, and whose attempts nobody starts.
func asking(t testing.TB) *Manager {
	t.Helper()
	m, err := New(Options{Authority: &Authority{}})
	if err != nil {
		t.Fatal(err)
	}
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return m.maint, nil }, Logger: zap.NewNop(),
	})
	m.o.Directory = "https://directory.test/"
	t.Cleanup(m.Close)
	return m
}

func running(mode string, hosts ...string) *catalog.Site {
	return &catalog.Site{Release: strings.Repeat("0", 64), Manifest: sites.Settings{Front: sites.Front{Hosts: hosts, TLS: sites.TLS{Mode: mode}}}}
}

// with is a view with one site that is another than in v; nil: without it.
func with(v *catalog.View, name string, s *catalog.Site) *catalog.View {
	next := &catalog.View{Sites: map[string]*catalog.Site{}}
	maps.Copy(next.Sites, v.Sites)
	if next.Sites[name] = s; s == nil {
		delete(next.Sites, name)
	}
	return next
}

func manySites(n int) *catalog.View {
	v := &catalog.View{Sites: map[string]*catalog.Site{}}
	for i := range n {
		v.Sites[fmt.Sprintf("s%d", i)] = running("", fmt.Sprintf("s%d.example.com", i), fmt.Sprintf("www.s%d.example.com", i))
	}
	return v
}

func hostsOf(m *Manager) string {
	out := map[string]string{}
	for name, h := range m.hosts {
		out[name] = fmt.Sprint(h.source, h.name == name)
	}
	return fmt.Sprint(out)
}

// Whatever way the sites came to be what they are, the hosts are those that a manager finds which sees them for the first time.
func TestSyncIsThatOfItsView(t *testing.T) {
	names := []string{"a.example.com", "b.example.com", "B.example.com.", "c.example.com", "*.example.com", "192.0.2.1"}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		m, v := asking(t), &catalog.View{}
		for step := range 60 {
			for range 1 + r.IntN(3) {
				name, s := fmt.Sprint("s", r.IntN(6)), running([]string{"", sites.TLSOff, sites.TLSInternal}[r.IntN(3)])
				for range r.IntN(4) {
					s.Manifest.Hosts = append(s.Manifest.Hosts, names[r.IntN(len(names))])
				}
				switch r.IntN(6) {
				case 0:
					s = nil
				case 1:
					s.Release = ""
				}
				v = with(v, name, s)
			}
			before := maps.Clone(m.hosts)
			m.Sync(v)
			anew := asking(t)
			anew.Sync(v)
			if got, want := hostsOf(m), hostsOf(anew); got != want {
				t.Fatalf("seed %d step %d: hosts are\n%s, want\n%s", seed, step, got, want)
			}
			for name, h := range m.hosts {
				if old := before[name]; old != nil && old.source == h.source && old != h {
					t.Fatalf("seed %d step %d: what is known of %s was forgotten", seed, step, name)
				}
			}
		}
	}
}

// A host moves from one site to another in one change, without a new certificate.
func TestHostMovesToAnotherSite(t *testing.T) {
	m := asking(t)
	v := with(with(&catalog.View{}, "a", running("", "one.example.com", "two.example.com")), "b", running("", "three.example.com"))
	m.Sync(v)
	h := m.hosts["one.example.com"]
	h.failures = 3
	v = with(with(v, "a", running("", "two.example.com")), "b", running("", "One.example.com"))
	m.Sync(v)
	if m.hosts["one.example.com"] != h || m.hosts["three.example.com"] != nil {
		t.Errorf("%v", hostsOf(m))
	}
}

// Hosts past the most that are managed get their places when others go.
func TestPlacesOfHosts(t *testing.T) {
	m := asking(t)
	v := manySites(maxHosts/2 + 2)
	m.Sync(v)
	if len(m.hosts) != maxHosts || len(m.claims) != maxHosts+4 {
		t.Fatalf("%d hosts of %d", len(m.hosts), len(m.claims))
	}
	v = with(with(with(v, "s0", nil), "s1", nil), "s2", running(""))
	m.Sync(v)
	if len(m.hosts) != maxHosts-2 || len(m.claims) != len(m.hosts) {
		t.Errorf("%d hosts of %d", len(m.hosts), len(m.claims))
	}
}

// Each view made all hosts anew, also for a change of one site among thousands. What the change takes does not depend on how
// many others there are.
func TestSyncLooksAtWhatChanged(t *testing.T) {
	cost := func(n int) float64 {
		m, v := asking(t), manySites(n)
		views := []*catalog.View{v, with(v, "s1", running("", "s1.example.com", "new.example.com"))}
		m.Sync(v)
		i := 0
		return testing.AllocsPerRun(20, func() { i++; m.Sync(views[i%2]) })
	}
	if few, many := cost(20), cost(200); many > few+5 {
		t.Errorf("%.0f allocations among 20 sites, %.0f among 200", few, many)
	}
}

func BenchmarkSync(b *testing.B) {
	m, v := asking(b), manySites(5000)
	views := []*catalog.View{v, with(v, "s1", running("", "s1.example.com", "new.example.com"))}
	m.Sync(v)
	b.Run("changed", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m.Sync(views[i%2])
		}
	})
	b.Run("same", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Sync(views[0])
		}
	})
}
