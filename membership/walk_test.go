package membership_test

import (
	"testing"
	"time"

	"portico/membership"
	"portico/membership/catalog"
)

// The whole walk with real TLS and real gossip: three machines are invited,
// gossip, learn of a new key while they run, and the one that is revoked is cut
// off within seconds.
func TestWalk(t *testing.T) {
	f := newFront(t)
	admit := func(name, fingerprint string) bool {
		m := f.catalog.View().Members[name]
		return m != nil && m.Admission == catalog.Accepted && m.Fingerprint == fingerprint
	}
	gossip := func(name, fingerprint string, keys [][]byte, seeds []string) *membership.Cluster {
		return begin(t, name, func(o *membership.Options) {
			o.Fingerprint, o.Keys = fingerprint, keys
			o.Seeds = func() []string { return seeds }
			o.Admit = admit
		})
	}
	keys, err := f.admission.GossipKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	proxy := gossip("proxy-1", f.identity.Fingerprint(), keys, nil)
	go func() {
		for {
			select {
			case k := <-f.keys:
				if err := proxy.SetKeys(k); err != nil {
					t.Error(err)
				}
			case <-t.Context().Done():
				return
			}
		}
	}()
	clusters := map[string]*membership.Cluster{}
	ends := map[string]chan error{}
	for i, name := range []string{"web-1", "web-2", "web-3"} {
		m := f.member(name, 9100+10*i)
		own, err := m.identity.GossipKeys()
		if err != nil {
			t.Fatal(err)
		}
		c := gossip(name, m.identity.Fingerprint(), own, []string{proxy.Addr()})
		clusters[name] = c
		end := make(chan error, 1)
		ends[name] = end
		go func() {
			end <- membership.Keep(t.Context(), membership.KeepOptions{
				Identity: m.identity, Servers: func() []string { return []string{f.addr} }, Member: m.memberTLS(),
				Hello: func() membership.Hello { return m.hello }, SetKeys: c.SetKeys,
			})
		}()
	}
	eventually(t, proxy, "four alive", func() bool { return alive(proxy) == 4 })
	if err := f.admission.Revoke(t.Context(), "web-2", "sold", "anna"); err != nil {
		t.Fatal(err)
	}
	if got := status(proxy, "web-2"); got != "absent" {
		t.Errorf("the revoked member is listed as %s", got)
	}
	if err := ended(t, ends["web-2"]); err == nil {
		t.Error("the revoked member's keeper ends without a word")
	}
	// News under the new key reach the others, and the revoked one never again.
	for {
		select {
		case <-clusters["web-2"].Revisions():
			continue
		default:
		}
		break
	}
	// One nudge may fall into the moment in which a member has the former key
	// only; it is a hint, and the next one arrives.
	for _, name := range []string{"web-1", "web-3"} {
		deadline := time.After(waitTime)
		again := time.NewTicker(300 * time.Millisecond)
		for revision, heard := int64(1001), false; !heard; {
			select {
			case got := <-clusters[name].Revisions():
				heard = got > 1000
			case <-again.C:
				proxy.Nudge(revision)
				revision++
			case <-deadline:
				t.Fatalf("%s hears nothing under the new key", name)
			}
		}
		again.Stop()
		eventually(t, proxy, name+" is alive", func() bool { return status(proxy, name) == membership.StatusAlive })
	}
	select {
	case r := <-clusters["web-2"].Revisions():
		t.Errorf("the revoked member still hears revision %d", r)
	default:
	}
}

func alive(c *membership.Cluster) int {
	n := 0
	for _, m := range c.Members() {
		if m.Status == membership.StatusAlive {
			n++
		}
	}
	return n
}
