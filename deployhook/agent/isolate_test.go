//go:build linux

package agent_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// TestIsolation runs two sites under an agent that is root: neither runs as root,
// neither can gain privileges, and neither can read what is the other's or the
// agent's (G1, G2). Once with a state directory that everybody may enter, and once
// with one that only root may.
func TestIsolation(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("accounts of their own need root")
	}
	for _, open := range []bool{true, false} {
		t.Run(fmt.Sprintf("open=%v", open), func(t *testing.T) {
			c := newCluster(t)
			dir := t.TempDir()
			if open {
				if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			identity := filepath.Join(dir, "identity")
			if err := os.Mkdir(identity, 0o700); err != nil {
				t.Fatal(err)
			}
			key := filepath.Join(identity, "gossip.key")
			if err := os.WriteFile(key, []byte("secret"), 0o600); err != nil {
				t.Fatal(err)
			}
			a := c.start(c.options(dir))
			rel := c.serverRelease("1")
			secret := runSettings()
			secret.Env["DATABASE_PASSWORD"] = "secret-of-blog"
			c.want(current("shop", rel, runSettings()), current("blog", rel, secret))
			healthy := func(site string) messages.InstanceReport {
				return c.awaitInstance(site, rel, func(i messages.InstanceReport) bool {
					return i.Site == site && i.State == catalog.InstanceHealthy
				})
			}
			shop := c.via(a.Addr(), healthy("shop").ID+".instance")
			blog := c.via(a.Addr(), healthy("blog").ID+".instance")
			se, be := readEnv(t, shop), readEnv(t, blog)
			if se.UID == 0 || be.UID == 0 || se.UID == be.UID {
				t.Errorf("G1: the sites run as %d and %d", se.UID, be.UID)
			}
			for _, line := range []string{"NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "Groups:\t \n"} {
				if !strings.Contains(se.Status, line) {
					t.Errorf("G1: %q is missing in %s", line, se.Status)
				}
			}
			pid := pidOf(t, get(t, blog, "/"))
			data := filepath.Join(dir, "sites", "blog", "data")
			get(t, blog, "/write?text=mine&path="+url.QueryEscape(filepath.Join(data, "file")))
			for _, path := range []string{
				key,
				filepath.Join(dir, "agent", "state.json"),
				filepath.Join(dir, "objects", rel[:2], rel[2:]),
				filepath.Join(data, "file"),
				filepath.Join(dir, "sites", "blog", "releases", rel, "version.txt"),
				filepath.Join(dir, "sites", "blog", "log"),
				fmt.Sprintf("/proc/%d/environ", pid),
				fmt.Sprintf("/proc/%d/environ", os.Getpid()),
				fmt.Sprintf("/proc/%d/cwd/version.txt", pid),
			} {
				if code, body := getCode(t, shop, "/read?path="+url.QueryEscape(path)); code == http.StatusOK {
					t.Errorf("G2: a site reads %s: %.80q", path, body)
				}
			}
			for _, path := range []string{data, identity, filepath.Join(dir, "sites"), be.value("TMPDIR")} {
				if code, _ := getCode(t, shop, "/list?path="+url.QueryEscape(path)); code == http.StatusOK && (open || path != filepath.Join(dir, "sites")) {
					t.Errorf("G2: a site lists %s", path)
				}
			}
			if code, _ := getCode(t, shop, "/write?text=x&path="+url.QueryEscape(filepath.Join(se.Dir, "version.txt"))); code == http.StatusOK {
				t.Error("G6: a site changes its own release")
			}
			// What a site leaves in a shared folder is closed to others.
			shared := filepath.Join(os.TempDir(), "portico-test-"+strconv.Itoa(os.Getpid()))
			get(t, blog, "/write?text=x&path="+url.QueryEscape(shared))
			defer os.Remove(shared)
			if code, _ := getCode(t, shop, "/read?path="+url.QueryEscape(shared)); code == http.StatusOK {
				t.Errorf("G2: a site reads another's %s", shared)
			}
		})
	}
}

// TestLimits: what settings bound is bounded, and only for that site (G1, G4).
func TestLimits(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	rel := c.serverRelease("1")
	s := runSettings()
	s.Limits.Files, s.Limits.Processes, s.Limits.Memory = 200, 40, 256<<20
	c.want(current("shop", rel, s), current("blog", rel, runSettings()))
	healthy := func(site string) *http.Client {
		i := c.awaitInstance(site, rel, func(i messages.InstanceReport) bool {
			return i.Site == site && i.State == catalog.InstanceHealthy
		})
		return c.via(a.Addr(), i.ID+".instance")
	}
	shop, blog := healthy("shop"), healthy("blog")
	limits := readEnv(t, shop).Limits
	for _, want := range [][]string{{"Max open files", "200"}, {"Max core file size", "0"}, {"Max data size", strconv.Itoa(256 << 20)}} {
		if v := limitOf(limits, want[0]); v != want[1] {
			t.Errorf("G1: %s is %q, want %s", want[0], v, want[1])
		}
	}
	if os.Geteuid() == 0 { // else the account's other processes count, too
		n, err := strconv.Atoi(get(t, shop, "/fork?max=100"))
		if err != nil || n >= 40 {
			t.Errorf("G4: a site with room for 40 processes started %d: %v", n, err)
		}
		if n, _ := strconv.Atoi(get(t, blog, "/fork?max=5")); n != 5 {
			t.Errorf("G4: the site beside it could start %d of 5", n)
		}
	}
	if _, err := shop.Get("https://shop.example/alloc?bytes=" + strconv.Itoa(1<<30)); err == nil {
		t.Error("G1: a site with 256 MiB got 1 GiB")
	}
	if body := get(t, blog, "/alloc?bytes="+strconv.Itoa(300<<20)); body != strconv.Itoa(300<<20) {
		t.Errorf("the site beside it got %q", body)
	}
}

// limitOf reads the soft limit out of /proc/self/limits.
func limitOf(limits, name string) string {
	for line := range strings.Lines(limits) {
		if v, ok := strings.CutPrefix(line, name); ok {
			return strings.Fields(v)[0]
		}
	}
	return ""
}
