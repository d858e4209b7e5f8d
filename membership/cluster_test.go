package membership_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"portico/membership"
	"portico/membership/catalog"
	"portico/tests/support/written"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, membership.KeyLen) }

func fingerprint(name string) string { return strings.Repeat("0", 64-len(name)) + name }

// begin starts a member on a free port of loopback.
func begin(t testing.TB, name string, change ...func(*membership.Options)) *membership.Cluster {
	t.Helper()
	o := membership.Options{
		Name: name, Role: catalog.RoleServer, ID: "id-" + name, Fingerprint: fingerprint(name), Version: "0.1.0",
		Bind: "127.0.0.1:0", Keys: [][]byte{key(1)},
	}
	if os.Getenv("GOSSIP_LOG") != "" {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("me", name)
	}
	for _, c := range change {
		c(&o)
	}
	c, err := membership.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close %s: %v", name, err)
		}
	})
	return c
}

func join(t testing.TB, c *membership.Cluster, to ...*membership.Cluster) {
	t.Helper()
	var addrs []string
	for _, o := range to {
		addrs = append(addrs, o.Addr())
	}
	j, err := c.Join(t.Context(), addrs)
	if err != nil {
		t.Fatal(err)
	}
	if len(j.UDPBlocked) > 0 {
		t.Errorf("UDP is said to be blocked on loopback: %v", j.UDPBlocked)
	}
}

// eventually waits for a condition that changes with the member list.
func eventually(t testing.TB, c *membership.Cluster, what string, ok func() bool) {
	t.Helper()
	changed, cancel := c.Subscribe()
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond) // not every state makes an event
	defer tick.Stop()
	deadline := time.After(waitTime)
	for !ok() {
		select {
		case <-changed:
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not reached: %s; members: %+v", what, c.Members())
		}
	}
}

func status(c *membership.Cluster, name string) membership.Status {
	for _, n := range c.Members() {
		if n.Name == name {
			return n.Status
		}
	}
	return "absent"
}

func TestThreeMembers(t *testing.T) {
	a, b, c := begin(t, "a"), begin(t, "b"), begin(t, "c")
	join(t, b, a)
	join(t, c, a)
	for _, x := range []*membership.Cluster{a, b, c} {
		eventually(t, x, "three alive", func() bool {
			return status(x, "a") == membership.StatusAlive && status(x, "b") == membership.StatusAlive && status(x, "c") == membership.StatusAlive
		})
	}
	n := a.Members()[1]
	want := membership.Node{Name: "b", Role: catalog.RoleServer, ID: "id-b", Fingerprint: fingerprint("b"), Version: "0.1.0", Addr: b.Addr(), Status: membership.StatusAlive}
	if n != want {
		t.Errorf("got %+v, want %+v", n, want)
	}

	a.Nudge(41)
	a.Nudge(42)
	for _, x := range []*membership.Cluster{a, b, c} {
		deadline := time.After(waitTime)
		for got := int64(0); got != 42; {
			select {
			case got = <-x.Revisions():
			case <-deadline:
				t.Fatal("revision 42 did not arrive")
			}
		}
	}

	if err := c.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, a, "c has left", func() bool { return status(a, "c") == membership.StatusLeft })
	a.Forget("c")
	eventually(t, a, "c is forgotten", func() bool { return status(a, "c") == "absent" })
}

func TestKeyIsMandatory(t *testing.T) {
	o := membership.Options{Name: "a", Bind: "127.0.0.1:0"}
	if _, err := membership.New(t.Context(), o); !errors.Is(err, membership.ErrNoKey) {
		t.Errorf("without a key: %v", err)
	}
	for _, bad := range [][]byte{{}, make([]byte, 16), make([]byte, 32)} {
		o.Keys = [][]byte{bad}
		if _, err := membership.New(t.Context(), o); err == nil {
			t.Errorf("key of %d bytes %x is accepted", len(bad), bad)
		}
	}
}

func TestWrongKeyCannotJoin(t *testing.T) {
	a := begin(t, "a")
	b := begin(t, "b", func(o *membership.Options) { o.Keys = [][]byte{key(2)} })
	if _, err := b.Join(t.Context(), []string{a.Addr()}); err == nil {
		t.Error("joined with another key")
	}
	if got := status(a, "b"); got != "absent" {
		t.Errorf("a lists b as %s", got)
	}
}

// M1: a member without encryption sees and changes nothing, by neither way.
func TestPlaintextIsIgnored(t *testing.T) {
	a := begin(t, "a")
	config := memberlist.DefaultLocalConfig()
	config.Name, config.BindAddr, config.BindPort, config.LogOutput = "plain", "127.0.0.1", 0, io.Discard
	plain, err := memberlist.Create(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Shutdown() }()
	if _, err := plain.Join([]string{a.Addr()}); err == nil {
		t.Error("a member without a key joined")
	}
	if plain.NumMembers() != 1 {
		t.Error("a member without a key learned of others")
	}
	addr := addrOf(t, a.Addr())
	alive := encoded(t, msgAlive, aliveMessage{Incarnation: 1, Node: "ghost", Addr: addr.Addr().AsSlice(), Port: 1, Vsn: []uint8{1, 5, 2, 2, 5, 4}})
	sendUDP(t, a.Addr(), alive, []byte{0}, nil, bytes.Repeat([]byte{1}, 40))
	sendTCP(t, a.Addr(), append([]byte{msgAlive}, alive...))
	eventually(t, a, "junk counted", func() bool { return a.Stats().BadPackets >= 2 && a.Stats().BadStreams >= 2 })
	if n := len(a.Members()); n != 1 {
		t.Errorf("%d members", n)
	}
}

// M2, M3: a holder of the key that nobody accepted, or one with the name of a
// member and another key, does not appear.
func TestOnlyAdmittedAreListed(t *testing.T) {
	admit := func(name, fp string) bool { return name == "b" && fp == fingerprint("b") }
	a := begin(t, "a", func(o *membership.Options) { o.Admit = admit })
	stranger := begin(t, "stranger")
	double := begin(t, "b", func(o *membership.Options) { o.Fingerprint = fingerprint("x") })
	for _, c := range []*membership.Cluster{stranger, double} {
		_, _ = c.Join(t.Context(), []string{a.Addr()})
	}
	b := begin(t, "b", func(o *membership.Options) { o.Admit = func(name, _ string) bool { return name == "a" } })
	join(t, b, a)
	eventually(t, a, "b is there", func() bool { return status(a, "b") == membership.StatusAlive })
	if n := a.Members(); len(n) != 2 || n[1].Fingerprint != fingerprint("b") {
		t.Errorf("members: %+v", n)
	}
}

// M4: a forged goodbye in a member's name does not remove it for good: the
// member objects.
func TestForgedLeaveIsRefuted(t *testing.T) {
	a, b := begin(t, "a"), begin(t, "b")
	join(t, b, a)
	forger := outsider(t, "c", a)
	if err := forger.RemoveFailedNode("b"); err != nil {
		t.Fatal(err)
	}
	addr := addrOf(t, a.Addr())
	sendUDP(t, addr.String(), sealed(t, key(1), 1, encoded(t, msgDead, deadMessage{Incarnation: 1 << 20, Node: "b", From: "a"}), nil))
	eventually(t, a, "the forgery was seen", func() bool { return status(a, "b") != membership.StatusAlive })
	eventually(t, a, "b is back", func() bool { return status(a, "b") == membership.StatusAlive })
}

// M5: somebody claims our name, or says that we are dead: we stay.
func TestOurNameIsOurs(t *testing.T) {
	a, b := begin(t, "a"), begin(t, "b")
	join(t, b, a)
	addr := addrOf(t, a.Addr())
	forged := aliveMessage{
		Incarnation: 1 << 20, Node: "a", Addr: []byte{127, 0, 0, 1}, Port: 9, Vsn: []uint8{1, 5, 2, 2, 5, 4},
		Meta: tags(t, map[string]string{"f": fingerprint("a")}),
	}
	same := forged
	same.Port = addr.Port()
	other := forged
	other.Meta = tags(t, map[string]string{"f": fingerprint("evil")})
	sendUDP(t, a.Addr(),
		sealed(t, key(1), 1, encoded(t, msgAlive, forged), nil),
		sealed(t, key(1), 1, encoded(t, msgAlive, same), nil),
		sealed(t, key(1), 1, encoded(t, msgAlive, other), nil),
		sealed(t, key(1), 1, encoded(t, msgDead, deadMessage{Incarnation: 1 << 21, Node: "a", From: "b"}), nil))
	forger := outsider(t, "c", a)
	if err := forger.RemoveFailedNode("a"); err != nil {
		t.Fatal(err)
	}
	// A revision that a sends afterwards still arrives: a has not shut down.
	a.Nudge(7)
	select {
	case <-b.Revisions():
	case <-time.After(waitTime):
		t.Fatal("a is silent")
	}
	eventually(t, b, "a is alive", func() bool { return status(b, "a") == membership.StatusAlive })
	if got := status(a, "a"); got != membership.StatusAlive {
		t.Errorf("a takes itself for %s", got)
	}
}

// outsider is plain serf with the key and none of our precautions.
func outsider(t testing.TB, name string, to *membership.Cluster) *serf.Serf {
	t.Helper()
	config := serf.DefaultConfig()
	config.NodeName = name
	config.LogOutput = io.Discard
	config.MemberlistConfig = memberlist.DefaultLocalConfig()
	config.MemberlistConfig.BindAddr, config.MemberlistConfig.BindPort = "127.0.0.1", 0
	config.MemberlistConfig.SecretKey = key(1)
	config.MemberlistConfig.LogOutput = io.Discard
	config.Tags = map[string]string{"f": fingerprint(name)}
	s, err := serf.Create(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown() })
	if _, err := s.Join([]string{to.Addr()}, true); err != nil {
		t.Fatal(err)
	}
	return s
}

// M6, and memberlist's own panics: a key holder sends what ends memberlist
// 0.7.0, in streams and datagrams; the process goes on.
func TestEmptyEncryptedMessages(t *testing.T) {
	a := begin(t, "a")
	for _, version := range []byte{0, 1} {
		sendTCP(t, a.Addr(), sealedStream(t, key(1), version, nil))
		sendUDP(t, a.Addr(), sealed(t, key(1), version, nil, nil))
	}
	sendTCP(t, a.Addr(), sealedStream(t, key(1), 0, []byte{200})) // padding longer than the text
	sendUDP(t, a.Addr(), sealed(t, key(1), 0, []byte{200}, nil))
	// A dialing member reads answers from whoever it dialed.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Write(sealedStream(t, key(1), 1, nil))
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}()
	if _, err := a.Join(t.Context(), []string{ln.Addr().String()}); err == nil {
		t.Error("joined a member that answers nothing")
	}
	_ = ln.Close()
	<-done
	b := begin(t, "b")
	join(t, b, a)
	eventually(t, a, "b", func() bool { return status(a, "b") == membership.StatusAlive })
}

// M6: silent connections are bounded and thrown out; members still get in.
func TestSilentConnections(t *testing.T) {
	a := begin(t, "a")
	for range 1000 {
		conn, err := net.Dial("tcp", a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	eventually(t, a, "most are refused", func() bool { return a.Stats().RefusedStreams >= 900 })
	eventually(t, a, "the rest are thrown out", func() bool { return a.Stats().BadStreams >= 8 })
	join(t, begin(t, "b"), a)
}

// M6: a key holder announces 20,000 members that nobody accepted.
func TestGhosts(t *testing.T) {
	a := begin(t, "a", func(o *membership.Options) { o.Admit = func(name, _ string) bool { return name == "b" } })
	conn, err := net.Dial("udp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for i := range 20_000 {
		m := aliveMessage{
			Incarnation: 1, Node: "ghost-" + strings.Repeat("x", i%50) + string(rune('a'+i%26)), Addr: []byte{127, 0, 0, 1}, Port: uint16(i),
			Vsn: []uint8{1, 5, 2, 2, 5, 4}, Meta: tags(t, map[string]string{"f": "<script>"}),
		}
		if _, err := conn.Write(sealed(t, key(1), 1, encoded(t, msgAlive, m), nil)); err != nil {
			t.Fatal(err)
		}
	}
	join(t, begin(t, "b"), a)
	eventually(t, a, "b", func() bool { return status(a, "b") == membership.StatusAlive })
	if n := a.Members(); len(n) != 2 {
		t.Errorf("%d members", len(n))
	}
}

// M8: new keys reach all members one by one, and nobody is taken for dead.
func TestKeyRotation(t *testing.T) {
	members := []*membership.Cluster{begin(t, "a"), begin(t, "b"), begin(t, "c")}
	join(t, members[1], members[0])
	join(t, members[2], members[0])
	for _, keys := range [][][]byte{{key(2), key(1)}, {key(2)}} {
		for _, m := range members {
			if err := m.SetKeys(keys); err != nil {
				t.Fatal(err)
			}
		}
	}
	members[1].Nudge(9)
	for _, m := range members {
		select {
		case <-m.Revisions():
		case <-time.After(waitTime):
			t.Fatal("no news under the new key")
		}
		for _, n := range m.Members() {
			if n.Status != membership.StatusAlive {
				t.Errorf("%s is %s", n.Name, n.Status)
			}
		}
	}
	old := begin(t, "d")
	if _, err := old.Join(t.Context(), []string{members[0].Addr()}); err == nil {
		t.Error("the old key still joins")
	}
	if err := members[0].SetKeys([][]byte{{1, 2, 3}}); err == nil {
		t.Error("a short key is taken")
	}
}

// Keys never come by gossip, although serf has a way for it: what a key holder
// installs and makes primary on all members is gone a second later.
func TestKeysByGossipAreUndone(t *testing.T) {
	a := begin(t, "a")
	forger := outsider(t, "c", a)
	const nines = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=" // 32 times 9
	if _, err := forger.KeyManager().InstallKey(nines); err != nil {
		t.Fatal(err)
	}
	if _, err := forger.KeyManager().UseKey(nines); err != nil {
		t.Fatal(err)
	}
	eventually(t, a, "the key is gone", func() bool { return tryJoin(t, a, key(9)) != nil })
	if err := tryJoin(t, a, key(1)); err != nil {
		t.Errorf("the key that should be in use is not: %v", err)
	}
}

func tryJoin(t *testing.T, to *membership.Cluster, k []byte) error {
	t.Helper()
	c, err := membership.New(t.Context(), membership.Options{Name: "thief", Bind: "127.0.0.1:0", Keys: [][]byte{k}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, err = c.Join(t.Context(), []string{to.Addr()})
	return err
}

// A restarted member finds the others by itself, also when it had lost sight of them before.
func TestRejoinFromKeptList(t *testing.T) {
	dir := t.TempDir()
	a := begin(t, "a")
	keep := func(o *membership.Options) { o.Dir = dir }
	b := begin(t, "b", keep)
	join(t, b, a)
	eventually(t, b, "a is there", func() bool { return status(b, "a") == membership.StatusAlive })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := begin(t, "b", keep, func(o *membership.Options) { o.Admit = func(string, string) bool { return false } }).Close(); err != nil {
		t.Fatal(err)
	}
	b = begin(t, "b", keep, func(o *membership.Options) { o.Bind = b.Addr() })
	eventually(t, b, "a is there again", func() bool { return status(b, "a") == membership.StatusAlive })
}

// Seeds are joined without being asked, also when they come up later.
func TestSeeds(t *testing.T) {
	a := begin(t, "a")
	b := begin(t, "b", func(o *membership.Options) { o.Seeds = func() []string { return []string{a.Addr()} } })
	eventually(t, b, "a", func() bool { return status(b, "a") == membership.StatusAlive })
}

// T44: a port that is open for TCP only is told.
func TestUDPBlocked(t *testing.T) {
	a := begin(t, "a")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", a.Addr())
			if err != nil {
				_ = conn.Close()
				continue
			}
			go func() { _, _ = io.Copy(to, conn); _ = to.(*net.TCPConn).CloseWrite() }()
			go func() { _, _ = io.Copy(conn, to); _ = conn.Close(); _ = to.Close() }()
		}
	}()
	defer func() { _ = ln.Close(); <-done }()
	var logs written.Buffer
	b := begin(t, "b", func(o *membership.Options) { o.Logger = slog.New(slog.NewTextHandler(&logs, nil)) })
	j, err := b.Join(t.Context(), []string{ln.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if len(j.UDPBlocked) != 1 || j.UDPBlocked[0] != ln.Addr().String() {
		t.Errorf("blocked: %v", j.UDPBlocked)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(logs.String(), "open the port for UDP as well as TCP") {
		t.Errorf("the log does not say so: %s", logs.String())
	}
}

func TestCloseTwice(t *testing.T) {
	a := begin(t, "a")
	changed, cancel := a.Subscribe()
	defer cancel()
	if err := a.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range changed { // ends because Close closes it
	}
}

func TestPortTaken(t *testing.T) {
	a := begin(t, "a")
	_, err := membership.New(t.Context(), membership.Options{Name: "b", Bind: a.Addr(), Keys: [][]byte{key(1)}})
	if err == nil || !strings.Contains(err.Error(), "listen for gossip") {
		t.Errorf("got %v", err)
	}
}

func TestAdvertised(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), waitTime)
	defer cancel()
	for _, tt := range []struct {
		advertise, bind string
		peers           []string
		want, why       string
	}{
		{"portico.example.com", ":7946", nil, "portico.example.com:7946", "set"},
		{"192.0.2.7:17946", ":7946", nil, "192.0.2.7:17946", "set"},
		{"", "127.0.0.1:7946", nil, "127.0.0.1:7946", "bound"},
		{"", ":7946", []string{"127.0.0.1:7443"}, "127.0.0.1:7946", "route to 127.0.0.1:7443"},
		{"", "[::]:7946", []string{"nowhere.invalid:1", "127.0.0.1:7443"}, "127.0.0.1:7946", "route to 127.0.0.1:7443"},
	} {
		got, why, err := membership.Advertised(ctx, tt.advertise, tt.bind, tt.peers)
		if err != nil || got != tt.want || why != tt.why {
			t.Errorf("%+v: %q, %q, %v", tt, got, why, err)
		}
	}
}
