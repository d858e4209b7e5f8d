package deployhook_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/deployhook"
	"portico/deployhook/objects"
	"portico/membership/catalog"
)

// childVariable makes the test binary a proxy's deploy side on the folder that
// it names, to be killed.
const childVariable = "PORTICO_TEST_CHILD"

// child serves uploads until it is killed. It prints its address once it is ready.
func child() int {
	dir := os.Getenv(childVariable)
	c, err := catalog.Open(context.Background(), catalog.Options{Dir: filepath.Join(dir, "catalog"), Name: "proxy", Key: bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	store, err := objects.Open(filepath.Join(dir, "objects"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	d, err := deployhook.New(deployhook.Options{Catalog: c, Objects: store, Dir: dir, Name: "proxy", Actor: func(context.Context) string { return "ann" }})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	d.Start()
	mux := http.NewServeMux()
	mux.Handle("PUT /v1/sites/{site}/archive", d.Archive())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(l.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(l, mux))
	return 1
}

// startChild runs the test binary as a proxy on dir.
func startChild(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the child did not start: %v", err)
	}
	return cmd, "http://" + strings.TrimSpace(addr)
}

// noise is a site whose archive takes a while to unpack and commit.
func noise(t *testing.T, seed uint64) []byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	files := map[string]string{"index.html": fmt.Sprint("version ", seed)}
	for i := range 400 {
		b := make([]byte, 2000)
		for j := range b {
			b[j] = byte(rng.Uint32())
		}
		files[fmt.Sprintf("f%03d", i)] = string(b)
	}
	return zipped(t, files)
}

// Whatever a kill -9 interrupts, the state afterwards is whole: the release that
// the catalog names is complete and verified, an acknowledged deploy is there, and nothing
// is left of what was under way (D8).
func TestKillAtAnyPointOfAnUpload(t *testing.T) {
	dir := t.TempDir()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	acknowledged := "" // release of the last deploy that was acknowledged
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	for round := range 8 {
		cmd, url := startChild(t, dir)
		body := noise(t, uint64(round))
		delay := time.Duration(rng.IntN(250)) * time.Millisecond
		if round == 0 {
			delay = 20 * time.Second // the first one gets through
		}
		killed := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/v1/sites/shop/archive", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err == nil {
			b, readErr := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if readErr == nil && res.StatusCode == http.StatusAccepted {
				acknowledged = between(string(b), `"release":"`, `"`)
			}
		}
		killed.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		acknowledged = checkWhole(t, dir, acknowledged)
	}
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

// checkWhole opens the state as a restarted proxy does and returns the site's release.
func checkWhole(t *testing.T, dir, acknowledged string) string {
	t.Helper()
	c := openCatalog(t, dir, "proxy", nil)
	defer c.Close()
	store, err := objects.Open(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := deployhook.New(deployhook.Options{Catalog: c, Objects: store, Dir: dir, Name: "proxy"})
	if err != nil {
		t.Fatal(err)
	}
	d.Start()
	defer d.Close()
	for _, tmp := range []string{filepath.Join(dir, "uploads"), filepath.Join(dir, "objects", "tmp")} {
		if list, err := os.ReadDir(tmp); err != nil || len(list) != 0 {
			t.Errorf("%s has %d leftovers, %v", tmp, len(list), err)
		}
	}
	v := c.View()
	if acknowledged != "" && v.Releases["shop"][acknowledged] == nil {
		t.Errorf("the acknowledged release %s is lost", acknowledged)
	}
	for digest := range v.Releases["shop"] {
		tree, err := store.Tree(digest, objects.TreeLimits())
		if err != nil {
			t.Fatalf("release %s: %v", digest, err)
		}
		for _, f := range tree.Files {
			if _, err := store.ReadAll(f.Digest, 1<<30); err != nil {
				t.Fatalf("release %s, %s: %v", digest, f.Path, err)
			}
		}
	}
	for _, deploy := range v.Deploys {
		if deploy.State == catalog.DeployRunning {
			if _, err := d.Wait(t.Context(), deploy.ID); err != nil {
				t.Error(err)
			}
		}
	}
	site := c.View().Sites["shop"]
	if site == nil || site.Candidate != "" {
		t.Fatalf("the site is %+v", site)
	}
	return site.Release
}

// full is a small file system to fill; without the rights to mount one the test
// is skipped, but not where it must run.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := mountTmpfs(dir, size); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a small file system: %v: %s", err, out)
		}
		t.Skipf("mounting a small file system needs root on Linux: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

func mountTmpfs(dir, size string) (string, error) {
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput()
	return string(out), err
}

// TestDiskFull: an upload that does not fit is refused with 507, the release before it serves on, and
// the space is given back (D9).
func TestDiskFull(t *testing.T) {
	small := smallDisk(t, "3m")
	store, err := objects.Open(filepath.Join(small, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	big := make([]byte, 2<<20)
	for i := range big {
		big[i] = byte(rng.Uint32())
	}
	for what, change := range map[string]func(*deployhook.Options){
		"spool":   func(o *deployhook.Options) { o.Dir = small },
		"objects": func(o *deployhook.Options) { o.Objects = store },
	} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t, change)
			first := c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
			a := c.upload("shop", "", bytes.NewReader(zipped(t, map[string]string{"a": string(big), "b": string(big[1:])})))
			if a.status != http.StatusInsufficientStorage || !strings.Contains(a.text, "disk is full") {
				t.Errorf("a full disk got %d: %s", a.status, a.text)
			}
			if s := c.site("shop"); s.Release != first.Release || s.Candidate != "" {
				t.Errorf("the site is %+v", s)
			}
			// The space is given back, so that something smaller fits.
			if d := c.deploy("shop", map[string]string{"a": string(big[:1<<20])}, catalog.DeploySucceeded); d.Release == first.Release {
				t.Error("the smaller deploy did nothing")
			}
		})
	}
}
