package command

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// bench is a catalog, and its view after the last change that it took.
type bench struct {
	t testing.TB
	c *catalog.Catalog
	v *catalog.View
	n int
}

func newBench(t testing.TB) *bench {
	c, err := catalog.Open(t.Context(), catalog.Options{Dir: t.TempDir(), Name: "proxy-1", Key: make([]byte, catalog.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &bench{t: t, c: c, v: c.View()}
}

// try runs a change.
func (b *bench) try(change func(tx *catalog.Tx) error) error {
	b.n++
	_, err := b.c.Update(b.t.Context(), change)
	b.v = b.c.View()
	return err
}

func (b *bench) must(change func(tx *catalog.Tx) error) {
	b.t.Helper()
	if err := b.try(change); err != nil {
		b.t.Fatal(err)
	}
}

var benchTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// deploy installs a site as by, whole.
func (b *bench) deploy(by, site string, set sites.Settings) error {
	release := strings.Repeat(fmt.Sprintf("%08x", b.n), 8)
	id := ids.New(benchTime.Add(time.Duration(b.n) * time.Second))
	err := b.try(func(tx *catalog.Tx) error {
		_, err := BeginDeploy(tx, DeployRequest{ID: id, Release: catalog.Release{Site: site, Digest: release, Manifest: set, By: by, Created: benchTime}, Members: []string{}, By: by, Now: benchTime})
		return err
	})
	if err != nil {
		return err
	}
	return b.try(func(tx *catalog.Tx) error { _, err := PromoteDeploy(tx, id, benchTime); return err })
}

func (b *bench) account(name string, role catalog.AccountRole, sites ...string) {
	b.must(func(tx *catalog.Tx) error {
		return CreateAccount(tx, catalog.Account{Name: name, Role: role, Sites: sites}, benchTime)
	})
}

func (b *bench) override(by, site, patch string) error {
	return b.try(func(tx *catalog.Tx) error {
		_, _, err := SetOverride(tx, []byte(patch), DeployRequest{ID: ids.New(benchTime), Release: catalog.Release{Site: site}, By: by, Now: benchTime})
		return err
	})
}

func (b *bench) share(host, site string) error {
	return b.try(func(tx *catalog.Tx) error { return ShareHost(tx, host, site, "op", benchTime) })
}

func (b *bench) move(host, site string) error {
	return b.try(func(tx *catalog.Tx) error { return MoveHost(tx, host, site, "op", benchTime) })
}

func (b *bench) unshare(host, site string) error {
	return b.try(func(tx *catalog.Tx) error { return UnshareHost(tx, host, site, benchTime) })
}

func hosts(path string, names ...string) sites.Settings {
	return sites.Settings{Front: sites.Front{Hosts: names, Path: path}}
}

// A deployer of one team took a path of another team's host, a name under its wildcard, or
// a wildcard over its name, and got the visitors at once. Each attempt is refused, with the
// owner and the remedy; what the team does with its own sites is not.
func TestHostsAreTheirOwners(t *testing.T) {
	b := newBench(t)
	b.account("op", catalog.RoleOperator)
	b.account("anna", catalog.RoleDeployer)
	b.account("alice", catalog.RoleDeployer, "a", "a2", "wild")
	b.account("mallory", catalog.RoleDeployer, "m")
	b.account("both", catalog.RoleDeployer, "a", "m")
	for site, set := range map[string]sites.Settings{"a": hosts("/", "a.test"), "wild": hosts("/", "*.team.test", "deep.x.test")} {
		if err := b.deploy("alice", site, set); err != nil {
			t.Fatal(err)
		}
	}
	b.must(func(tx *catalog.Tx) error {
		return Reserve(tx, catalog.Reserved{Proxy: "front", Admin: []string{"Admin.Front.test.", "127.0.0.1", "localhost", "front"}, Sites: []catalog.ReservedSite{{Name: "old", Hosts: []string{"old.test"}, Path: "/"}}})
	})
	b.must(func(tx *catalog.Tx) error {
		return tx.PutMember(catalog.Member{Name: "front", Role: catalog.RoleProxy, Admission: catalog.Accepted})
	})

	for _, tt := range []struct {
		by, site string
		set      sites.Settings
		want     []string // in the refusal; none: it is allowed
	}{
		{"mallory", "m", hosts("/login", "a.test"), []string{`"a.test"`, `site "a"`, `"alice"`, "portico hosts share 'a.test' m"}},
		{"mallory", "m", hosts("/", "www.team.test"), []string{`"*.team.test"`, `"wild"`, "portico hosts share 'www.team.test' m"}},
		{"mallory", "m", hosts("/", "*.x.y.team.test"), []string{`"*.team.test"`}},
		{"mallory", "m", hosts("/", "*.x.test"), []string{`"deep.x.test"`}},
		{"mallory", "m", hosts("/x", "other.test", "A.test."), []string{"invalid"}},
		{"mallory", "m", hosts("/", "a.test"), []string{"choose another host or path"}},
		{"op", "m", hosts("/login", "a.test"), []string{"portico hosts share"}},
		{"anna", "a3", hosts("/x", "a.test"), []string{"portico hosts share"}},
		{"mallory", "m", hosts("/", "admin.front.test"), []string{"admin page", `"front"`}},
		{"op", "m", hosts("/x", "front.test", "admin.front.test"), []string{"admin page"}},
		{"mallory", "m", hosts("/x", "old.test"), []string{"configuration file", `"old"`}},
		{"op", "m", hosts("/", "*.test.old.test", "x.old.test"), nil},
		{"alice", "a2", hosts("/login", "a.test", "www.team.test"), nil},
		{"both", "m", hosts("/login2", "a.test"), nil},
	} {
		err := b.deploy(tt.by, tt.site, tt.set)
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%s deploys %s on %v%s: %v", tt.by, tt.site, tt.set.Hosts, tt.set.Path, err)
		}
		for _, text := range tt.want {
			if err != nil && !strings.Contains(err.Error(), text) {
				t.Errorf("%s deploys %s on %v: %v, want %q in it", tt.by, tt.site, tt.set.Hosts, err, text)
			}
		}
		if err == nil {
			b.must(func(tx *catalog.Tx) error { return RemoveSite(tx, tt.site, benchTime) })
		}
	}
	for _, l := range b.v.HostLines() {
		if l.Proxy != "" && l.Site == "" && l.Host != "admin.front.test" && l.Host != "front" {
			t.Errorf("%q is kept for the admin page", l.Host)
		}
	}
}

// What operators say about hosts: a share lets one site in, beside those accounts only; its
// end and a move take the host away; no site is left without a host; the next site of the
// same name has nothing of it.
func TestShareUnshareMove(t *testing.T) {
	b := newBench(t)
	b.account("op", catalog.RoleOperator)
	b.account("alice", catalog.RoleDeployer, "a")
	b.account("bob", catalog.RoleDeployer, "b")
	b.account("carol", catalog.RoleDeployer, "c")
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(err error, text string) {
		t.Helper()
		if !errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), text) {
			t.Fatalf("%v, want a conflict with %q", err, text)
		}
	}
	ok(b.deploy("alice", "a", hosts("/", "a.test", "a2.test")))
	refused(b.share("free.test", "b"), "needs nobody's word")
	ok(b.share("A.test.", "b"))
	refused(b.deploy("carol", "c", hosts("/c", "a.test")), "portico hosts share 'a.test' c")
	ok(b.deploy("bob", "b", hosts("/b", "a.test", "b.test")))
	refused(b.deploy("bob", "b", hosts("/b", "a2.test", "b.test")), "a2.test")
	ok(b.unshare("a.test", "b"))
	if got := b.v.RoutesOf("b").Hosts; !slices.Equal(got, []string{"b.test"}) {
		t.Errorf("after the end of the share site b has %v", got)
	}
	if err := b.unshare("a.test", "b"); !errors.Is(err, catalog.ErrNotFound) {
		t.Error(err)
	}
	ok(b.move("a2.test", "b"))
	if got := b.v.RoutesOf("a").Hosts; !slices.Equal(got, []string{"a.test"}) {
		t.Errorf("after the move site a has %v", got)
	}
	refused(b.move("a.test", "b"), "has no other host")
	ok(b.deploy("alice", "a", hosts("/", "a.test", "a2.test"))) // its archive still says so
	if got := b.v.RoutesOf("a").Hosts; !slices.Equal(got, []string{"a.test"}) {
		t.Errorf("a deploy after the move gave site a %v", got)
	}
	refused(b.override("op", "a", `{"hosts":null}`), "a2.test")
}

// A word for one site ends with the site, and is good beside those accounts only that had
// the host when it was given.
func TestGrantsEnd(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"alice", "bob", "carol"} {
		b.account(name, catalog.RoleDeployer, name+"-site")
	}
	for _, step := range []func() error{
		func() error { return b.deploy("alice", "alice-site", hosts("/", "a.test")) },
		func() error { return b.share("a.test", "bob-site") },
		func() error {
			return b.try(func(tx *catalog.Tx) error { return RemoveSite(tx, "alice-site", benchTime) })
		},
		func() error { return b.deploy("carol", "carol-site", hosts("/", "a.test")) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.deploy("bob", "bob-site", hosts("/b", "a.test")); err == nil {
		t.Error("a word that was given beside alice's sites let a site in beside carol's")
	}
	if err := b.share("a.test", "bob-site"); err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() error{
		func() error { return b.deploy("bob", "bob-site", hosts("/b", "a.test")) },
		func() error {
			return b.try(func(tx *catalog.Tx) error { return RemoveSite(tx, "bob-site", benchTime) })
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.deploy("bob", "bob-site", hosts("/b", "a.test")); err == nil {
		t.Error("the word for a removed site let the next one of its name in")
	}
}

// A catalog of an earlier version, with two teams' sites on one host, stays as it is:
// each may deploy again as it stands, and neither may take more.
func TestHostsOfEarlierVersions(t *testing.T) {
	b := newBench(t)
	b.account("alice", catalog.RoleDeployer, "a")
	b.account("bob", catalog.RoleDeployer, "b")
	b.must(func(tx *catalog.Tx) error {
		for site, set := range map[string]sites.Settings{"a": hosts("/", "a.test"), "b": hosts("/b", "a.test")} {
			by := map[string]string{"a": "alice", "b": "bob"}[site]
			if err := errors.Join(
				tx.PutSite(catalog.Site{Name: site, Manifest: set, Release: digestOf("1")}),
				tx.PutRelease(catalog.Release{Site: site, Digest: digestOf("1"), By: by, Manifest: set, Created: benchTime}),
				tx.PutRelease(catalog.Release{Site: site, Digest: digestOf("2"), By: "op", Manifest: set, Created: benchTime.Add(time.Hour)})); err != nil {
				return err
			}
		}
		return nil
	})
	if b.v.Owner("a") != "alice" || b.v.Owner("b") != "bob" {
		t.Errorf("owners are %q and %q", b.v.Owner("a"), b.v.Owner("b"))
	}
	if err := b.deploy("bob", "b", hosts("/b", "a.test", "b.test")); err != nil {
		t.Error(err)
	}
	if b.v.Sites["b"].Owner != "bob" {
		t.Error("the owner is not written down")
	}
	if err := b.deploy("bob", "b", hosts("/login", "a.test")); err == nil {
		t.Error("a site that shared a host took another path of it")
	}
}

func digestOf(c string) string { return strings.Repeat(c, 64) }

// TestHostsProperty plays several accounts at random and asks after each step who gets the
// visitors of every host and path. Visitors of one account's site come to another's only
// when the site gave the place up, or an operator's word was there.
func TestHostsProperty(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		playHosts(t, seed)
	}
}

var (
	playNames = []string{"a.test", "b.a.test", "c.b.a.test", "*.a.test", "*.b.a.test", "d.test", "*.d.test", "e.d.test", "admin.test"}
	playAsked = []string{"a.test", "b.a.test", "c.b.a.test", "x.b.a.test", "x.a.test", "d.test", "e.d.test", "f.d.test", "nobody.test", "admin.test"}
	playPaths = []string{"/", "/x", "/x/y", "/z"}
)

func playHosts(t *testing.T, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	b := newBench(t)
	b.account("op", catalog.RoleOperator)
	teams := map[string][]string{"alice": {"a1", "a2"}, "bob": {"b1", "b2"}, "carol": {"c1"}}
	for _, name := range slices.Sorted(maps.Keys(teams)) {
		b.account(name, catalog.RoleDeployer, teams[name]...)
	}
	teamOf := func(site string) string { return map[byte]string{'a': "alice", 'b': "bob", 'c': "carol"}[site[0]] }
	b.must(func(tx *catalog.Tx) error {
		return Reserve(tx, catalog.Reserved{Proxy: "front", Admin: []string{"admin.test"}})
	})
	b.must(func(tx *catalog.Tx) error {
		return tx.PutMember(catalog.Member{Name: "front", Role: catalog.RoleProxy, Admission: catalog.Accepted})
	})
	words := map[string]bool{} // "host site" that an operator spoke
	for step := range 120 {
		account := pick(slices.Sorted(maps.Keys(teams)))
		site := pick(teams[account])
		set := sites.Settings{Front: sites.Front{Path: pick(playPaths)}}
		for range r.IntN(3) {
			if h := pick(playNames); !slices.Contains(set.Hosts, h) {
				set.Hosts = append(set.Hosts, h)
			}
		}
		was, what, err := b.v, "", error(nil)
		switch op := r.IntN(20); {
		case op < 11:
			what, err = fmt.Sprintf("%s deploys %s on %v%s", account, site, set.Hosts, set.Path), b.deploy(account, site, set)
		case op < 13:
			h := pick(playNames)
			if what, err = "share "+h+" "+site, b.share(h, site); err == nil {
				words[h+" "+site] = true
			}
		case op < 14:
			h := pick(playNames)
			what, err = "unshare "+h+" "+site, b.unshare(h, site)
		case op < 15:
			h := pick(playNames)
			if what, err = "move "+h+" "+site, b.move(h, site); err == nil {
				words[h+" "+site] = true
			}
		case op < 17:
			what, err = "remove "+site, b.try(func(tx *catalog.Tx) error { return RemoveSite(tx, site, benchTime) })
			if err == nil {
				for key := range words {
					if strings.HasSuffix(key, " "+site) {
						delete(words, key)
					}
				}
			}
		default:
			what = fmt.Sprintf("the operator sets %s to %v%s", site, set.Hosts, set.Path)
			err = b.override("op", site, fmt.Sprintf(`{"hosts":["%s"],"path":"%s"}`, strings.Join(append(set.Hosts, "o.test"), `","`), set.Path))
		}
		if err != nil {
			continue
		}
		for _, host := range playAsked {
			for _, path := range []string{"/", "/x", "/x/y/1", "/z/", "/other"} {
				before, _ := routeFor(was, host, path)
				now, by := routeFor(b.v, host, path)
				if now != "" && host == "admin.test" && by != sites.AnyHost {
					t.Fatalf("seed %d step %d: %s: the admin page's name leads to %s", seed, step, what, now)
				}
				if before == "" || now == "" || teamOf(before) == teamOf(now) || words[by+" "+now] {
					continue
				}
				if left, _ := routeFor(onlyWithout(b.v, now), host, path); left != before {
					continue // the site that had it gave it up
				}
				if by == sites.AnyHost || mustBeNamed(was, before, host) == sites.AnyHost {
					continue // nobody had named it
				}
				t.Fatalf("seed %d step %d: %s: %s%s led to %s and leads to %s now, by %s, without a word", seed, step, what, host, path, before, now, by)
			}
		}
	}
}

// onlyWithout is a view without one site.
func onlyWithout(v *catalog.View, site string) *catalog.View {
	c := *v
	c.Sites = map[string]*catalog.Site{}
	for name, s := range v.Sites {
		if name != site {
			c.Sites[name] = s
		}
	}
	return &c
}

// mustBeNamed is the name of a site's settings by which it has a host.
func mustBeNamed(v *catalog.View, site, host string) string {
	best := sites.AnyHost
	for _, h := range v.RoutesOf(site).Hosts {
		if h == host || under(h, host) && (best == sites.AnyHost || len(h) > len(best)) {
			best = h
		}
	}
	return best
}

// routeFor is the rule of the data path's table, told anew: the exact host, else the longest
// wildcard, else the sites without hosts; among these the longest path.
func routeFor(v *catalog.View, host, path string) (site, by string) {
	best := map[string]string{} // by name, the site
	long := map[string]int{}
	names := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(v.Sites)) {
		r := v.RoutesOf(name)
		for _, h := range r.Hosts {
			names[h] = true
			if sites.Covers(r.Path, path) && (best[h] == "" || len(r.Path) > long[h]) {
				best[h], long[h] = name, len(r.Path)
			}
		}
	}
	if names[host] {
		return best[host], host
	}
	for rest := host; strings.Contains(rest, "."); {
		_, rest, _ = strings.Cut(rest, ".")
		if names["*."+rest] {
			return best["*."+rest], "*." + rest
		}
	}
	return best[sites.AnyHost], sites.AnyHost
}
