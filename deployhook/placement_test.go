package deployhook_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/deployhook/objects"
	"portico/deployhook/wanted"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

func (c *cluster) label(member string, labels ...string) {
	c.t.Helper()
	c.update(func(tx *catalog.Tx) error { _, err := command.LabelMember(tx, member, labels); return err })
}

func (c *cluster) set(site, override string) {
	c.t.Helper()
	c.update(func(tx *catalog.Tx) error {
		_, _, err := command.SetOverride(tx, []byte(override), command.DeployRequest{ID: ids.New(time.Now()), Release: catalog.Release{Site: site}, By: "ann", Now: time.Now()})
		return err
	})
}

func (c *cluster) setLoad(instance string, sessions int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.load[instance] = [2]int{sessions, 0}
}

const zoneA = "servers = [\"zone-a\"]\n[env]\nSECRET = \"of-shop-alone\"\n"

// One lost server is not all sites: a server that a site does not belong on is told nothing of it,
// gets nothing of it from any member, and cannot bring itself in by what it reports.
func TestServerGetsWhatBelongsOnItAlone(t *testing.T) {
	c := newCluster(t)
	c.join("web1", "web2", "web3")
	c.label("web1", "zone-a")
	c.label("web2", "zone-a", "fast")
	blog := c.deploy("blog", map[string]string{"portico.toml": `hosts = ["blog.test"]`, "index.html": "for everybody"}, catalog.DeploySucceeded)
	shop := c.deploy("shop", map[string]string{"portico.toml": zoneA, "index.html": "of zone a", "big.html": strings.Repeat("x", 300<<10)}, catalog.DeploySucceeded)
	if shop.Members["web1"].Step != catalog.StepInRotation || shop.Members["web2"].Step != catalog.StepInRotation || len(shop.Members) != 2 {
		t.Errorf("the deploy counts %v", shop.Members)
	}
	if len(c.agent("web3").running("shop")) != 0 || len(c.agent("web3").running("blog")) != 1 {
		t.Errorf("web3 runs %v and %v", c.agent("web3").running("shop"), c.agent("web3").running("blog"))
	}

	told, err := json.Marshal(wanted.Of(c.catalog.View(), "web3"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"shop", "of-shop-alone", shop.Release, "zone-a"} {
		if strings.Contains(string(told), secret) {
			t.Errorf("web3 is told %q in %s", secret, told)
		}
	}
	if told, _ := json.Marshal(wanted.Of(c.catalog.View(), "web1")); !strings.Contains(string(told), "of-shop-alone") {
		t.Errorf("web1 is not told its settings: %s", told)
	}

	tree, err := c.objects.Tree(shop.Release, objects.TreeLimits())
	if err != nil {
		t.Fatal(err)
	}
	file := tree.Files[slices.IndexFunc(tree.Files, func(f objects.File) bool { return f.Path == "index.html" })]
	for _, ask := range []string{shop.Release, shop.Release + "?release=" + shop.Release, file.Digest + "?release=" + shop.Release, file.Digest, file.Digest + "?release=" + blog.Release, file.Digest + "?release=" + file.Digest} {
		if code, body := c.do("web3", "GET", "/v1/objects/"+ask, ""); code != 403 && code != 404 || strings.Contains(body, "of zone a") {
			t.Errorf("web3 gets %d %.40q for %s", code, body, ask)
		}
	}
	absent := string(binary.BigEndian.AppendUint64(nil, ^uint64(0)))
	if code, body := c.do("web3", "POST", "/v1/objects/bundle?release="+blog.Release, file.Digest+"\n"); code != 200 || body != absent {
		t.Errorf("web3 gets in a bundle %d %q", code, body)
	}
	if code, body := c.do("web1", "GET", "/v1/objects/"+file.Digest+"?release="+shop.Release, ""); code != 200 || body != "of zone a" {
		t.Errorf("web1 gets %d %q", code, body)
	}
	if code, body := c.do("web1", "POST", "/v1/objects/bundle?release="+shop.Release, file.Digest+"\n"); code != 200 || !strings.HasSuffix(body, "of zone a") {
		t.Errorf("web1 gets in a bundle %d %q", code, body)
	}

	// It says that it runs the site: it would get visitors, and settings with it.
	forged := ids.NewInstance()
	report := fmt.Sprintf(`{"instances":[{"id":%q,"site":"shop","release":%q,"state":"healthy","started":"2026-01-01T00:00:00Z","progress":{"step":"healthy"}}]}`, forged, shop.Release)
	own := c.instanceOf("web3", blog.Release)
	turned := strings.Replace(report, forged, own, 1)
	c.agent("web3").stop()
	if code, body := c.do("web3", "POST", "/v1/agent/report", turned); code < 400 {
		t.Errorf("an instance of the blog became one of the shop: %d %s", code, body)
	}
	if code, body := c.do("web3", "POST", "/v1/agent/report", report); code != 200 {
		t.Errorf("a report is answered %d %s", code, body)
	}
	if in := c.catalog.View().Instances[forged]; in != nil {
		t.Errorf("the cluster took %+v for one of the site's", in)
	}

	// Who joins later with the label gets the site; so does one that is named.
	c.join("web4", "web5")
	c.label("web4", "zone-a")
	c.eventually("a late server with the label runs the site", func() bool { return len(c.agent("web4").running("shop")) == 1 })
	c.set("shop", `{"servers":["zone-a","web5"]}`)
	c.eventually("a server runs the site by its name", func() bool { return len(c.agent("web5").running("shop")) == 1 })
}

// Labels move a site without losing a session: first it runs on the new server, then the old one
// keeps what it has until it is empty.
func TestMovedSiteKeepsItsSessions(t *testing.T) {
	c := newCluster(t)
	c.join("web1", "web2")
	c.label("web1", "zone-a")
	c.label("web2", "zone-b")
	d := c.deploy("shop", map[string]string{"portico.toml": zoneA, "index.html": "one"}, catalog.DeploySucceeded)
	old := c.instanceOf("web1", d.Release)
	c.setLoad(old, 3)
	c.agent("web2").change(func(a *agent) { a.stuck = true })
	c.set("shop", `{"servers":["zone-b"]}`)
	c.eventually("web2 begins", func() bool { return c.instanceOf("web2", d.Release) != "" })
	c.settle()
	if in := c.catalog.View().Instances[old]; in.Admin != "" {
		t.Errorf("the old instance is %q before another is up", in.Admin)
	}
	next := c.instanceOf("web2", d.Release)
	c.agent("web2").change(func(a *agent) {
		for _, in := range a.run {
			in.State, in.Progress.Step = catalog.InstanceHealthy, catalog.StepHealthy
		}
	})
	c.eventually("the old instance drains", func() bool {
		in := c.catalog.View().Instances[old]
		return in != nil && in.Admin == catalog.AdminDrain && in.Leaving && time.Until(in.Drain.Deadline) > 7*time.Hour
	})
	c.lookedAt(old)
	if len(c.agent("web1").running("shop")) != 1 {
		t.Fatal("the old instance went with three sessions on it")
	}
	if w := wanted.Of(c.catalog.View(), "web1"); len(w.Releases) != 1 || w.Releases[0].Duty != messages.DutyRetiring {
		t.Errorf("web1 is to run %+v", w.Releases)
	}

	// The operator thinks again: the instance takes new visitors as if nothing had been.
	c.set("shop", `{"servers":["zone-a","zone-b"]}`)
	c.eventually("the old instance stays", func() bool { in := c.catalog.View().Instances[old]; return in.Admin == "" && !in.Leaving })

	c.set("shop", `{"servers":["zone-b"]}`)
	c.eventually("it drains again", func() bool { return c.catalog.View().Instances[old].Admin == catalog.AdminDrain })
	c.setLoad(old, 0)
	c.eventually("the empty instance is stopped", func() bool { return len(c.agent("web1").running("shop")) == 0 })
	c.eventually("web1 is told nothing of the site", func() bool {
		w, _ := json.Marshal(wanted.Of(c.catalog.View(), "web1"))
		return !bytes.Contains(w, []byte("shop"))
	})
	if got := c.instanceOf("web2", d.Release); got != next || len(c.agent("web2").running("shop")) != 1 {
		t.Errorf("web2 runs %v as %s, before %s", c.agent("web2").running("shop"), got, next)
	}
}

// settle waits until the controller has looked at the cluster a few times.
func (c *cluster) settle() {
	from := c.catalog.View().Revision
	c.eventually("the controller has had its turns", func() bool {
		c.update(func(tx *catalog.Tx) error {
			return tx.Audit(catalog.AuditEntry{ID: ids.New(time.Now()), At: time.Now(), By: "test", Action: "turn"})
		})
		return c.catalog.View().Revision > from+10
	})
}

// A site for which there is no server says so at once, with the label and what helps.
func TestSiteWithoutServerIsRefused(t *testing.T) {
	c := newCluster(t)
	first := c.deploy("early", map[string]string{"portico.toml": "hosts = [\"early.test\"]\n" + zoneA, "index.html": "one"}, catalog.DeploySucceeded)
	if !strings.Contains(first.Hint, `"zone-a"`) {
		t.Errorf("nobody hears which server is waited for: %q", first.Hint)
	}
	c.join("web1")
	a := c.upload("shop", "", zippedReader(t, map[string]string{"portico.toml": zoneA, "index.html": "one"}))
	for _, word := range []string{`[\"zone-a\"]`, "portico members label MEMBER zone-a", "portico sites set shop servers="} {
		if a.status != 409 || !strings.Contains(a.text, word) {
			t.Errorf("the upload is answered %d %s, without %s", a.status, a.text, word)
		}
	}
	c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	_, err := c.catalog.Update(t.Context(), func(tx *catalog.Tx) error {
		_, _, err := command.SetOverride(tx, []byte(`{"servers":["zone-x"]}`), command.DeployRequest{ID: ids.New(time.Now()), Release: catalog.Release{Site: "shop"}, By: "ann", Now: time.Now()})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "zone-x") {
		t.Errorf("a site was sent away from its last server: %v", err)
	}
	c.label("web1", "zone-a")
	c.eventually("the site that waited runs", func() bool { return len(c.agent("web1").running("early")) == 1 })
	if got := c.catalog.View().HomelessSites(); len(got) != 0 {
		t.Errorf("homeless: %v", got)
	}
	c.label("web1")
	if got := c.catalog.View().HomelessSites(); len(got) != 1 || !strings.Contains(got[0], `"early"`) {
		t.Errorf("homeless: %v", got)
	}
	c.settle()
	if got := c.agent("web1").running("early"); !slices.Equal(got, []string{first.Release}) {
		t.Errorf("the only instance of a site went with its server's label: %v", got)
	}
}
