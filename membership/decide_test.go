package membership

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const (
	keyA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	keyB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func knockOf(change func(*Knock)) Knock {
	k := Knock{Hello: Hello{
		Name: "web-1", ID: "id-1", Role: catalog.RoleServer, Addr: "192.0.2.10:7444", Gossip: "192.0.2.10:7946",
		Version: "0.1.7", Platform: "linux/amd64",
	}, CSR: []byte("csr")}
	if change != nil {
		change(&k)
	}
	return k
}

func viewOf(members ...catalog.Member) *catalog.View {
	v := &catalog.View{Members: map[string]*catalog.Member{}, Sites: map[string]*catalog.Site{}}
	for i := range members {
		v.Members[members[i].Name] = &members[i]
	}
	return v
}

func known(name, key string, a catalog.Admission) catalog.Member {
	return catalog.Member{Name: name, ID: "id-" + name, Fingerprint: key, Admission: a, Reason: "because", Knocked: noon.Add(-time.Hour)}
}

func TestAdmit(t *testing.T) {
	other := known("web-2", keyB, catalog.Accepted)
	other.Addr, other.Gossip = "192.0.2.10:7444", "192.0.2.11:7946"
	squatter := known("web-2", keyB, catalog.Pending)
	squatter.Addr = "192.0.2.10:7444"
	tomcat := viewOf()
	tomcat.Sites["shop"] = &catalog.Site{Name: "shop", Manifest: sites.Settings{Kind: sites.KindTomcat}}
	full := viewOf()
	for i := range maxPending {
		m := known(fmt.Sprint("ghost-", i), fmt.Sprintf("%064d", i), catalog.Pending)
		full.Members[m.Name] = &m
	}
	same := *record(knockOf(nil), keyA, noon.Add(-time.Hour))

	for _, tt := range []struct {
		name     string
		view     *catalog.View
		change   func(*Knock)
		loopback bool
		want     string // accepted, pending, new, invited, or a code
		says     string // in the refusal
	}{
		{name: "a new machine", want: "new"},
		{name: "again", view: viewOf(same), want: "pending"},
		{name: "again with another address", view: viewOf(same), change: func(k *Knock) { k.Addr = "192.0.2.77:7444" }, want: "new"},
		{name: "accepted before", view: viewOf(known("web-1", keyA, catalog.Accepted)), want: "accepted"},
		{name: "refused before", view: viewOf(known("web-1", keyA, catalog.Refused)), want: CodeRefused, says: "because"},
		{name: "revoked before", view: viewOf(known("web-1", keyA, catalog.Revoked)), want: CodeRevoked, says: "because"},
		{name: "revoked, with a code", view: viewOf(known("web-1", keyA, catalog.Revoked)), change: func(k *Knock) { k.Code = "x" }, want: CodeRevoked},
		{name: "with a code", change: func(k *Knock) { k.Code = "x" }, want: "invited"},
		{name: "name of a pending one", view: viewOf(known("web-1", keyB, catalog.Pending)), want: CodeNameTaken, says: "another key"},
		{name: "name of an accepted one", view: viewOf(known("web-1", keyB, catalog.Accepted)), want: CodeNameTaken, says: "another key"},
		{name: "name of an accepted one, with a code", view: viewOf(known("web-1", keyB, catalog.Accepted)), change: func(k *Knock) { k.Code = "x" }, want: CodeNameTaken},
		{name: "name of a revoked one", view: viewOf(known("web-1", keyB, catalog.Revoked)), want: CodeNameTaken},
		{name: "name of a refused one", view: viewOf(known("web-1", keyB, catalog.Refused)), want: "new"},
		{name: "key under another name", view: viewOf(known("web-2", keyA, catalog.Accepted)), want: CodeKeyTaken, says: `"web-2"`},
		{name: "key of a revoked one under another name", view: viewOf(known("web-2", keyA, catalog.Revoked)), want: CodeKeyTaken},
		{name: "address of a member", view: viewOf(other), want: CodeAddressTaken, says: "192.0.2.10:7444"},
		{name: "gossip address of a member", view: viewOf(other), change: func(k *Knock) { k.Addr, k.Gossip = "192.0.2.9:1", "192.0.2.11:7946" }, want: CodeAddressTaken},
		{name: "address of one that only knocked", view: viewOf(squatter), want: "new"},
		{name: "list is full", view: full, want: CodeFull},
		{name: "list is full, with a code", view: full, change: func(k *Knock) { k.Code = "x" }, want: "invited"},
		{name: "list is full, on it already", view: full, change: func(k *Knock) { k.Name = "ghost-7" }, want: "new"},
		{name: "no Tomcat", view: tomcat, want: CodeRuntime, says: `site "shop" needs a Tomcat`},
		{name: "with Tomcat", view: tomcat, change: func(k *Knock) { k.Runtimes = map[string]string{"tomcat": "10.1"} }, want: "new"},
		{name: "a proxy needs no Tomcat", view: tomcat, change: func(k *Knock) { k.Role, k.Catalog = catalog.RoleProxy, "10.0.0.9:7445" }, want: "new"},
		{name: "a proxy whose catalog nobody reaches", change: func(k *Knock) { k.Role, k.Catalog = catalog.RoleProxy, "127.0.0.1:7445" }, want: CodeAddress, says: "loopback"},
		{name: "a proxy without a catalog", change: func(k *Knock) { k.Role = catalog.RoleProxy }, want: CodeAddress},
		{name: "a server with a catalog", change: func(k *Knock) { k.Catalog = "10.0.0.9:7445" }, want: CodeInvalid},

		{name: "other minor", change: func(k *Knock) { k.Version = "0.2.0" }, want: CodeVersion, says: "this machine runs portico 0.2.0, the cluster runs 0.1.0"},
		{name: "other major", change: func(k *Knock) { k.Version = "v1.1.0" }, want: CodeVersion},
		{name: "no version", change: func(k *Knock) { k.Version = "" }, want: CodeVersion, says: "an unknown version"},
		{name: "a build of one's own", change: func(k *Knock) { k.Version = "v0.1.9-dev+abc" }, want: "new"},

		{name: "wildcard", change: func(k *Knock) { k.Addr = "0.0.0.0:7444" }, want: CodeAddress, says: "wildcard"},
		{name: "wildcard 6", change: func(k *Knock) { k.Gossip = "[::]:7946" }, want: CodeAddress, says: "wildcard"},
		{name: "mapped wildcard", change: func(k *Knock) { k.Addr = "[::ffff:0.0.0.0]:7444" }, want: CodeAddress},
		{name: "loopback", change: func(k *Knock) { k.Addr = "127.0.0.1:7444" }, want: CodeAddress, says: "loopback"},
		{name: "loopback 6", change: func(k *Knock) { k.Addr = "[::1]:7444" }, want: CodeAddress, says: "loopback"},
		{name: "localhost", change: func(k *Knock) { k.Addr = "LocalHost.:7444" }, want: CodeAddress, says: "loopback"},
		{name: "loopback on one machine", loopback: true, change: func(k *Knock) { k.Addr, k.Gossip = "127.0.0.1:7444", "localhost:7946" }, want: "new"},
		{name: "multicast", change: func(k *Knock) { k.Addr = "224.0.0.1:7444" }, want: CodeAddress},
		{name: "broadcast", change: func(k *Knock) { k.Addr = "255.255.255.255:7444" }, want: CodeAddress},
		{name: "link-local", change: func(k *Knock) { k.Addr = "[fe80::1%eth0]:7444" }, want: CodeAddress},
		{name: "no port", change: func(k *Knock) { k.Addr = "192.0.2.10" }, want: CodeAddress},
		{name: "port zero", change: func(k *Knock) { k.Addr = "192.0.2.10:0" }, want: CodeAddress},
		{name: "no host", change: func(k *Knock) { k.Addr = ":7444" }, want: CodeAddress},
		{name: "a script as host", change: func(k *Knock) { k.Addr = "<script>:7444" }, want: CodeAddress},
		{name: "a name as host", change: func(k *Knock) { k.Addr = "web-1.example.com:7444" }, want: "new"},
		{name: "no gossip yet", change: func(k *Knock) { k.Gossip = "" }, want: "new"},

		{name: "no name", change: func(k *Knock) { k.Name = "" }, want: CodeInvalid},
		{name: "markup in the name", change: func(k *Knock) { k.Name = "<b>web</b>" }, want: CodeInvalid},
		{name: "newline in the name", change: func(k *Knock) { k.Name = "web\nserver evil" }, want: CodeInvalid},
		{name: "an option as name", change: func(k *Knock) { k.Name = "-rf" }, want: CodeInvalid},
		{name: "long name", change: func(k *Knock) { k.Name = strings.Repeat("w", 300) }, want: CodeInvalid},
		{name: "no id", change: func(k *Knock) { k.ID = "" }, want: CodeInvalid},
		{name: "no role", change: func(k *Knock) { k.Role = "" }, want: CodeInvalid},
		{name: "control bytes in the zone", change: func(k *Knock) { k.Zone = "a\x1b[2J" }, want: CodeInvalid},
		{name: "bad text in a runtime", change: func(k *Knock) { k.Runtimes = map[string]string{"php": "\xff"} }, want: CodeInvalid},
		{name: "many runtimes", change: func(k *Knock) {
			k.Runtimes = map[string]string{}
			for i := range 33 {
				k.Runtimes[fmt.Sprint(i)] = "1"
			}
		}, want: CodeInvalid},
		{name: "heavy", change: func(k *Knock) { k.Weight = 257 }, want: CodeInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := tt.view
			if v == nil {
				v = viewOf()
			}
			fingerprint := keyA
			if tt.name == "list is full, on it already" {
				fingerprint = v.Members["ghost-7"].Fingerprint
			}
			d := admit(v, rules{version: "0.1.0", loopback: tt.loopback}, knockOf(tt.change), fingerprint, noon)
			if got := nameOf(d); got != tt.want {
				t.Fatalf("got %s (%+v), want %s", got, d.refusal, tt.want)
			}
			if d.refusal != nil {
				if !strings.Contains(d.refusal.Message, tt.says) {
					t.Errorf("says %q, want %q in it", d.refusal.Message, tt.says)
				}
				if strings.ContainsAny(d.refusal.Error(), "\n\x1b") {
					t.Errorf("unfit to show: %q", d.refusal.Error())
				}
			}
			if d.pending != nil && d.refusal == nil && (d.pending.Admission != catalog.Pending || d.pending.Certificate != nil || d.pending.Fingerprint != fingerprint) {
				t.Errorf("record %+v", d.pending)
			}
		})
	}
}

func nameOf(d decision) string {
	switch {
	case d.refusal != nil:
		return d.refusal.Code
	case d.accepted != nil:
		return "accepted"
	case d.invited:
		return "invited"
	case d.changed:
		return "new"
	case d.pending != nil:
		return "pending"
	}
	return "nothing"
}

// The place on the list is that of the first knock.
func TestAdmitKeepsTheFirstKnock(t *testing.T) {
	before := *record(knockOf(nil), keyA, noon.Add(-time.Hour))
	d := admit(viewOf(before), rules{version: "0.1.0"}, knockOf(func(k *Knock) { k.Zone = "b" }), keyA, noon)
	if !d.pending.Knocked.Equal(before.Knocked) {
		t.Errorf("knocked %v, want %v", d.pending.Knocked, before.Knocked)
	}
}

func TestSameVersion(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"0.1.0", "v0.1.9", true}, {"0.1", "0.1.3-rc1", true}, {"0.1.0", "0.10.0", false}, {"1.0.0", "0.0.0", false},
		{"dev", "dev", true}, {"dev", "0.1.0", false}, {"", "", true}, {"", "0.1.0", false}, {"0.x.1", "0.x.2", false},
	} {
		if got := sameVersion(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %t", tt.a, tt.b, got)
		}
	}
}

// TestCheckVersion: newcomers run what the cluster runs, members may be one minor
// version apart while everything is upgraded, in either order.
func TestCheckVersion(t *testing.T) {
	for _, tt := range []struct {
		version          string
		newcomer, member bool
	}{
		{"1.4.0", true, true}, {"v1.4.9-rc1", true, true}, {"1.3.7", false, true}, {"1.5.0", false, true},
		{"1.2.0", false, false}, {"1.6.0", false, false}, {"2.4.0", false, false}, {"0.4.0", false, false},
		{"8f5eedc", false, true}, {"", false, true}, {"1.4294967295.0", false, false},
	} {
		for accepted, want := range map[bool]bool{false: tt.newcomer, true: tt.member} {
			if r := checkVersion(tt.version, rules{version: "1.4.2", accepted: accepted}); (r == nil) != want {
				t.Errorf("%q, accepted %t: %v", tt.version, accepted, r)
			} else if r != nil && r.Code != CodeVersion {
				t.Errorf("%q: code %s", tt.version, r.Code)
			}
		}
	}
}

func TestNameOf(t *testing.T) {
	for host, want := range map[string]string{
		"web-1": "web-1", "DESKTOP-AB12.corp.example.com": "desktop-ab12", "my_host": "my-host", "-x-": "x", "": "member", "...": "member", "con": "member",
		strings.Repeat("a", 60): strings.Repeat("a", 40), "größe": "gr--e",
	} {
		if got := NameOf(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

func TestLimiter(t *testing.T) {
	l := newLimiter(10, 20)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	count := func(addr netip.Addr, at time.Time, n int) (allowed int) {
		for range n {
			if l.allow(addr, at) {
				allowed++
			}
		}
		return allowed
	}
	if n := count(a, noon, 100); n != 20 {
		t.Errorf("burst of %d", n)
	}
	if n := count(a, noon.Add(time.Second), 100); n != 10 {
		t.Errorf("%d in the next second", n)
	}
	if n := count(b, noon, 10) + count(netip.MustParseAddr("2001:db8::2"), noon, 100); n != 20 {
		t.Errorf("one network has %d", n)
	}
	// An attacker with many addresses fills no memory, and gets less, not more.
	allowed := 0
	for i := range 3 * maxBuckets {
		if l.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), noon) {
			allowed++
		}
	}
	if len(l.buckets) > maxBuckets+1 || allowed > maxBuckets+20 {
		t.Errorf("%d buckets, %d allowed", len(l.buckets), allowed)
	}
	if !l.allow(netip.MustParseAddr("198.51.100.1"), noon.Add(time.Minute)) {
		t.Error("nobody new is let in after the attack")
	}
}

func TestTurned(t *testing.T) {
	var l turned
	if !l.add(Turned{Name: "a\x1b", Fingerprint: keyA, Code: "x"}) || l.add(Turned{Name: "a\x1b", Fingerprint: keyA, Code: "x"}) {
		t.Error("news are not told apart")
	}
	for i := range 3 * maxTurned {
		l.add(Turned{Name: fmt.Sprint(i)})
	}
	if len(l.list) != maxTurned {
		t.Errorf("%d entries", len(l.list))
	}
}

func TestHeld(t *testing.T) {
	h := longPolls{byKey: map[string]chan struct{}{}}
	first, ok, done := h.enter(keyA)
	if !ok {
		t.Fatal("refused")
	}
	_, ok, done2 := h.enter(keyA)
	select {
	case <-first:
	default:
		t.Error("the older answer is still held")
	}
	done()
	if !ok || len(h.byKey) != 1 {
		t.Error("the older one's end removed the newer one")
	}
	done2()
	for i := range maxPending {
		h.enter(fmt.Sprint(i))
	}
	if _, ok, _ := h.enter("one more"); ok {
		t.Error("no bound")
	}
}

func FuzzKnock(f *testing.F) {
	f.Add("web-1", "id", "server", "192.0.2.1:7444", "[2001:db8::1]:7946", "0.1.0", "zone", "php", "8", 100, "code")
	f.Add("", "\x00", "king", "::", ":", "..", "\xff", "", "", -1, "")
	f.Add("con", "i", "proxy", "[fe80::1%lo]:65535", "localhost:1", "v0.1", "<b>", "tomcat", "10", 256, "a.b")
	f.Fuzz(func(t *testing.T, name, id, role, addr, gossip, version, zone, runtime, rv string, weight int, code string) {
		k := Knock{Hello: Hello{
			Name: name, ID: id, Role: catalog.Role(role), Addr: addr, Gossip: gossip, Version: version, Zone: zone,
			Runtimes: map[string]string{runtime: rv}, Weight: weight,
		}, Code: code}
		other := known("web-2", keyB, catalog.Accepted)
		d := admit(viewOf(other), rules{version: "0.1.0"}, k, keyA, noon)
		if nameOf(d) == "nothing" {
			t.Fatal("no decision")
		}
		if d.refusal != nil {
			if d.refusal.Status < 400 || strings.ContainsAny(d.refusal.Error(), "\n\r\x1b\x00") {
				t.Fatalf("refusal %d %q", d.refusal.Status, d.refusal.Error())
			}
			return
		}
		for _, s := range []string{d.pending.Name, d.pending.Zone, d.pending.Version, d.pending.ID, d.pending.Addr} {
			if strings.ContainsAny(s, "\n\r\x1b\x00") || len(s) > 300 {
				t.Fatalf("taken in: %q", s)
			}
		}
	})
}

// Whatever bytes come as a request for a certificate, they are judged.
func FuzzKeyOf(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, der []byte) {
		if fingerprint, err := keyOf(der); err == nil && len(fingerprint) != 64 {
			t.Fatalf("fingerprint %q", fingerprint)
		}
	})
}
