package agent_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portico/conf/sites"
	"portico/deployhook/agent"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// shellSite is a site of files whose command before each deploy is a shell script, run
// as the site's account in its release.
func shellSite(script string, data ...string) sites.Settings {
	s := staticSettings(func(s *sites.Settings) { s.Data = data })
	if script != "" {
		s.Deploy.Before = []string{"/bin/sh", "-ec", script}
	}
	return s
}

// deployed publishes a release and returns a client of its healthy instance.
func (c *cluster) deployed(a *agent.Agent, site, text string, s sites.Settings) *http.Client {
	c.t.Helper()
	rel := c.release(map[string]string{"index.html": text})
	w := candidate(site, rel, s, "deploy-"+rel[:8])
	w.Before = len(s.Deploy.Before) > 0
	c.want(w)
	in := c.awaitHealthy(rel)
	return c.via(a.Addr(), in.ID+".instance")
}

// TestServesNothingBehindLinks: what a site puts into its data folders for the agent
// to send is the site's own, or visitors do not get it.
func TestServesNothingBehindLinks(t *testing.T) {
	needRoot(t)
	c, other := newCluster(t), newCanary(t)
	dir := openDir(t)
	a := c.start(c.options(dir))
	client := c.deployed(a, "docs", "1", shellSite(fmt.Sprintf(`
		cd $PORTICO_DATA_DIR
		echo own > pub/own.txt; mkdir -p pub/deep; echo deep > pub/deep/own.txt
		ln -s own.txt pub/inner.txt; ln -s deep pub/inner
		ln -s %[1]s/secret pub/secret.txt; ln -s %[1]s pub/folder
		ln -s ../../../../../../../../../../../../etc/shadow pub/shadow.txt
		ln -s ../../../agent/state.json pub/state.txt; ln -s /proc/self/environ pub/environ.txt
		mkfifo pub/pipe.txt; ln -s pipe.txt pub/topipe.txt`, other.dir), "pub"))
	pub := filepath.Join(dir, "sites", "docs", "data", "pub")
	// A system without fs.protected_hardlinks lets a site do this by itself.
	if err := os.Link(filepath.Join(dir, "agent", "state.json"), filepath.Join(pub, "hard.txt")); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"operator.txt": 0o644, "closed.txt": 0o600} {
		path := filepath.Join(pub, name)
		if err := os.WriteFile(path, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"/pub/own.txt": "own\n", "/pub/deep/own.txt": "deep\n", "/pub/inner.txt": "own\n", "/pub/inner/own.txt": "deep\n",
		"/pub/operator.txt": "operator.txt", // which root put there for all to read
		"/pub/secret.txt":   "", "/pub/folder/secret": "", "/pub/folder/common": "", "/pub/shadow.txt": "", "/pub/state.txt": "", "/pub/environ.txt": "",
		"/pub/pipe.txt": "", "/pub/topipe.txt": "", "/pub/hard.txt": "", "/pub/closed.txt": "",
	} {
		began := time.Now()
		code, body := getCode(t, client, path)
		if want != "" && (code != http.StatusOK || body != want) || want == "" && code != http.StatusNotFound {
			t.Errorf("%s answers %d %q, want %q", path, code, body, want)
		}
		if took := time.Since(began); took > waitTime/2 {
			t.Errorf("%s took %v", path, took)
		}
	}
}

// TestDataFolderIsALink: a site of files does not come up with a data folder that is a
// link, and is told what helps.
func TestDataFolderIsALink(t *testing.T) {
	needRoot(t)
	c, other := newCluster(t), newCanary(t)
	a := c.start(c.options(openDir(t)))
	c.deployed(a, "docs", "1", shellSite("ln -s "+other.dir+" $PORTICO_DATA_DIR/leak; mkfifo $PORTICO_DATA_DIR/pipe", "pub"))
	for _, tt := range []struct{ data, says string }{
		{"leak", "mount --bind"}, {"leak/x", "mount --bind"}, {"leak/new", "mount --bind"}, {"pipe", "not a folder"}, {"pipe/x", "not a folder"},
	} {
		rel := c.release(map[string]string{"index.html": "2" + tt.data})
		s := shellSite("", tt.data)
		c.want(candidate("docs", rel, s, "deploy-"+tt.data))
		c.awaitInstance("data "+tt.data+" refused: "+tt.says, rel, func(i messages.InstanceReport) bool {
			if i.State == catalog.InstanceHealthy {
				t.Errorf("data = [%q] is served", tt.data)
			}
			return strings.Contains(i.Progress.Detail, tt.says) && strings.Contains(i.Progress.Detail, tt.data)
		})
		other.unharmed(t)
	}
}

// TestMakesNothingBehindLinks: the agent makes and gives away data folders only in the
// site's own, whatever the site has made of the way there.
func TestMakesNothingBehindLinks(t *testing.T) {
	needRoot(t)
	c, other := newCluster(t), newCanary(t)
	dir := openDir(t)
	a := c.start(c.options(dir))
	c.deployed(a, "shop", "1", shellSite(fmt.Sprintf(`
		cd $PORTICO_DATA_DIR
		ln -s %[1]s foo; ln -s %[1]s pub.tmp; ln -s %[1]s/x.tmp new.tmp; mkdir own
		ln -s %[1]s own/foo; ln -s %[1]s .portico-seed; ln -s ../../.. up`, other.dir), "first"))
	run := runSettings()
	run.Data = []string{"foo/shadow/x", "foo/new", "foo/closed", "new", "pub/deep", "own/foo/shadow", "up/agent"}
	b, err := os.ReadFile(serverBinary)
	if err != nil {
		t.Fatal(err)
	}
	rel := c.release(map[string]string{
		"server*": string(b), "new/seed.txt": "seed", "pub/deep/run*": "run", "foo/shadow/x/planted": "planted", "foo/new/planted": "planted", "up/agent/planted": "x",
	})
	c.want(candidate("shop", rel, run, "deploy-2"))
	in := c.awaitHealthy(rel)
	env := readEnv(t, c.via(a.Addr(), in.ID+".instance"))
	other.unharmed(t)
	data := filepath.Join(dir, "sites", "shop", "data")
	for name, mode := range map[string]os.FileMode{"new": 0o700 | os.ModeDir, "new/seed.txt": 0o600, "pub": 0o700 | os.ModeDir, "pub/deep": 0o700 | os.ModeDir, "pub/deep/run": 0o700} {
		fi, err := os.Lstat(filepath.Join(data, name))
		if err != nil {
			t.Error(err)
		} else if st := fi.Sys().(*syscall.Stat_t); fi.Mode() != mode || int(st.Uid) != env.UID || int(st.Gid) != env.UID {
			t.Errorf("%s: %v of %d:%d, want %v of %d", name, fi.Mode(), st.Uid, st.Gid, mode, env.UID)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "agent", "planted")); err == nil {
		t.Error("a file of a release lies among the agent's own")
	}
	if fi, err := os.Lstat(filepath.Join(dir, "agent")); err != nil || fi.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Error("the agent's folder has another owner", err)
	}
}

// TestCommandTellsNothing: where a command of a site is looked for, the answer is what the
// site's account could find out by itself.
func TestCommandTellsNothing(t *testing.T) {
	needRoot(t)
	c, other := newCluster(t), newCanary(t)
	a := c.start(c.options(openDir(t)))
	c.deployed(a, "shop", "1", shellSite("ln -s "+other.dir+"/closed $PORTICO_DATA_DIR/leak", "first"))
	said := map[string]string{}
	for _, cmd := range []string{other.dir + "/closed/secret", other.dir + "/closed/nothing", "./leak/secret", "./leak/nothing"} {
		s := runSettings()
		s.Run, s.Data = []string{cmd}, []string{"leak"}
		rel := c.release(map[string]string{"version": cmd})
		c.want(candidate("shop", rel, s, "deploy-"+cmd))
		c.awaitInstance(cmd+" refused", rel, func(i messages.InstanceReport) bool {
			said[cmd] = i.Progress.Detail
			return i.Progress.Step == catalog.StepFailed
		})
		if !strings.Contains(said[cmd], "permission denied") {
			t.Errorf("run = [%q] tells %q", cmd, said[cmd])
		}
	}
}

// TestOperatorsLinks: where only root can make a link, in the folder of a site itself, it is an
// operator's: a larger disk for data goes on to work, and keeps its owner.
func TestOperatorsLinks(t *testing.T) {
	needRoot(t)
	c, large, dir := newCluster(t), t.TempDir(), openDir(t)
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "sites", "docs"), 0o711), os.Mkdir(filepath.Join(large, "pub"), 0o755),
		os.WriteFile(filepath.Join(large, "pub", "file.txt"), []byte("large"), 0o644), os.Symlink(large, filepath.Join(dir, "sites", "docs", "data"))); err != nil {
		t.Fatal(err)
	}
	a := c.start(c.options(dir))
	client := c.deployed(a, "docs", "1", shellSite("", "pub", "new"))
	if code, body := getCode(t, client, "/pub/file.txt"); code != http.StatusOK || body != "large" {
		t.Errorf("a file on the larger disk: %d %q", code, body)
	}
	for name, site := range map[string]bool{"": false, "pub": false, "new": true} {
		fi, err := os.Lstat(filepath.Join(large, name))
		if err != nil || (fi.Sys().(*syscall.Stat_t).Uid != 0) != site {
			t.Errorf("%q on the larger disk: %v, %v", name, fi, err)
		}
	}
}

// TestReachUnderUnit runs the tests above with the capabilities that the example unit
// for systemd leaves, and no more.
func TestReachUnderUnit(t *testing.T) {
	needRoot(t)
	unit, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples", "portico-agent.service"))
	if err != nil {
		t.Fatal(err)
	}
	_, line, ok := strings.Cut(string(unit), "\nCapabilityBoundingSet=")
	if !ok {
		t.Fatal("the unit bounds no capabilities")
	}
	line, _, _ = strings.Cut(line, "\n")
	keep := map[uintptr]bool{}
	for name := range strings.FieldsSeq(line) {
		n, ok := capabilities[name]
		if !ok {
			t.Fatalf("the unit has %s, which this test does not know: add its number", name)
		}
		keep[n] = true
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run", "^(TestServesNothingBehindLinks|TestDataFolderIsALink|TestMakesNothingBehindLinks|TestCommandTellsNothing|TestLinksSwappedMeanwhile|TestOperatorsLinks|TestUnitCapabilities)$", "-test.v", "-test.timeout", "5m")
	cmd.Env = append(os.Environ(), "PORTICO_TEST_UNIT=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ran := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: what the thread has lost it does not get back
		for n := range uintptr(64) {
			if !keep[n] {
				_ = unix.Prctl(unix.PR_CAPBSET_DROP, n, 0, 0, 0) // those above the last are not there
			}
		}
		ran <- cmd.Run()
	}()
	if err := <-ran; err != nil || strings.Count(out.String(), "--- PASS") < 7 || strings.Contains(out.String(), "--- SKIP") {
		t.Errorf("with the unit's capabilities: %v\n%s", err, out.String())
	}
}

// TestUnitCapabilities is for TestReachUnderUnit: it makes sure that capabilities are gone.
func TestUnitCapabilities(t *testing.T) {
	if os.Getenv("PORTICO_TEST_UNIT") == "" {
		t.Skip("TestReachUnderUnit runs it")
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		t.Fatal(err)
	}
	if data[0].Effective&(1<<unix.CAP_SYS_PTRACE) != 0 || data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0 || data[0].Effective&(1<<unix.CAP_CHOWN) == 0 {
		t.Errorf("capabilities %x are not those of the unit", data[0].Effective)
	}
}

// capabilities are those that units name.
var capabilities = map[string]uintptr{
	"CAP_CHOWN": unix.CAP_CHOWN, "CAP_DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE, "CAP_DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH, "CAP_FOWNER": unix.CAP_FOWNER,
	"CAP_FSETID": unix.CAP_FSETID, "CAP_KILL": unix.CAP_KILL, "CAP_SETGID": unix.CAP_SETGID, "CAP_SETUID": unix.CAP_SETUID, "CAP_SETPCAP": unix.CAP_SETPCAP,
	"CAP_NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE, "CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_SYS_RESOURCE": unix.CAP_SYS_RESOURCE,
	"CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN, "CAP_SYS_PTRACE": unix.CAP_SYS_PTRACE, "CAP_SYS_CHROOT": unix.CAP_SYS_CHROOT,
}
