package agent

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/deployhook/agent/account"
	"portico/deployhook/agent/folders"
	"portico/deployhook/objects"
)

// TestLinksSwappedMeanwhile has an agent that is root work in a site's folders while
// processes of the site exchange every name there. Nothing that is not the site's is
// read, made, changed or removed, and nothing waits.
func TestLinksSwappedMeanwhile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only an agent that is root can reach what is not its sites': run the tests as root, as in a container, to see this one")
	}
	other := t.TempDir()
	if err := os.Chmod(filepath.Dir(other), 0o755); err != nil {
		t.Fatal(err)
	}
	fillOther(t, other)
	before := inventory(t, other)
	w := newRace(t, other)
	for seed := range 2 {
		w.attack(t, uint64(seed))
	}
	rounds, end := 0, time.Now().Add(4*time.Second)
	for ; time.Now().Before(end) || rounds < 50; rounds++ {
		w.round(t)
	}
	t.Logf("%d rounds: %d data folders made, %d attempts refused, %d answers", rounds, w.made, w.refused, w.answers)
	if w.made == 0 || w.refused == 0 || w.answers == 0 {
		t.Error("the site and the agent never met")
	}
	if now := inventory(t, other); now != before {
		t.Errorf("what is another's has changed; before:\n%s\nnow:\n%s", before, now)
	}
}

const othersSecret = "this is not the site's"

func fillOther(t *testing.T, dir string) {
	t.Helper()
	for _, sub := range []string{"shadow/x", "x", "a/b", "closed"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"secret", "x/secret", "a/b/secret", "shadow/x/secret", "closed/secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(othersSecret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	common := filepath.Join(dir, "common") // which a site can link to on every system
	if err := os.WriteFile(common, []byte("common"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(common, 0o666); err != nil {
		t.Fatal(err)
	}
}

// inventory lists a folder with modes, owners and sizes.
func inventory(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err == nil {
			st := fi.Sys().(*syscall.Stat_t)
			fmt.Fprintf(&b, "%s %v %d:%d", name, fi.Mode(), st.Uid, st.Gid)
			if !fi.IsDir() {
				fmt.Fprintf(&b, " %d bytes of %v", fi.Size(), fi.ModTime())
			}
			b.WriteByte('\n')
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// race is an agent of one site that is under attack.
type race struct {
	*rand.Rand
	a                      *Agent
	d                      folders.Site
	acc                    account.Account
	other                  string
	release                string
	seed                   objects.Tree
	made, refused, answers int
}

func newRace(t *testing.T, other string) *race {
	t.Helper()
	dir := t.TempDir()
	a, err := New(Options{Dir: dir, Name: "app1", Logger: slog.New(slog.DiscardHandler), Cluster: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w := &race{Rand: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2)), a: a, d: a.dirs("shop"), other: other}
	if w.acc, err = a.siteAccount("shop", sites.Settings{}); err != nil {
		t.Fatal(err)
	}
	digest, size, err := a.store.Put(strings.NewReader("seed"))
	if err != nil {
		t.Fatal(err)
	}
	var files []objects.File
	for _, name := range []string{"secret", "deep/secret", "deep/er/seed"} {
		files = append(files, objects.File{Path: name, Size: size, Digest: digest})
	}
	w.seed = objects.Tree{Files: files}
	if w.release, err = a.store.PutTree(objects.Tree{Files: []objects.File{{Path: "index.html", Size: size, Digest: digest}}}); err != nil {
		t.Fatal(err)
	}
	if err := folders.Prepare(w.d, w.acc, a.root); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(w.d.Release(w.release), 0o755); err != nil {
		t.Fatal(err)
	}
	return w
}

// attack starts a process of the site that exchanges names.
func (w *race) attack(t *testing.T, seed uint64) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe") // where the test lies, the account may not go
	cmd.Env = append(os.Environ(), fmt.Sprintf("PORTICO_TEST_SWAP=%d\n%s\n%s\n%s\n%s", seed, w.other, w.d.Data(), w.d.Tmp(), w.d.Home()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(w.acc.UID), Gid: uint32(w.acc.GID)}}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if !bufio.NewScanner(out).Scan() {
		t.Fatal("the attack did not begin")
	}
}

// round does all that an agent does in the folders of a site, as other goroutines of it would.
func (w *race) round(t *testing.T) {
	t.Helper()
	lists := [][]string{{"x"}, {"a/b/c"}, {"new"}, {"shadow/x"}, {"a"}, {"x", "new"}, {"a/b"}, {"new/x/y"}}
	data := lists[w.IntN(len(lists))]
	seeds := map[string]objects.Tree{}
	for _, name := range data {
		seeds[name] = w.seed
	}
	if err := folders.Prepare(w.d, w.acc, w.a.root); err != nil {
		t.Errorf("prepare: %v", err)
	}
	done := make(chan error, 1)
	maker := folders.Seeder{Store: w.a.store, Own: w.a.root, Log: w.a.log}
	go func() {
		done <- maker.Seed(context.Background(), folders.Release{Site: w.d, Account: w.acc, Data: data}, seeds)
	}()
	select {
	case err := <-done:
		if _, made := os.Lstat(filepath.Join(w.d.Data(), data[0], "deep", "secret")); err == nil && made == nil {
			w.made++
		} else if err != nil {
			w.refused++
		}
	case <-time.After(time.Minute):
		t.Fatal("the site holds up the agent, which makes a data folder")
	}
	w.serve(t, data)
	if w.IntN(4) == 0 {
		_ = w.a.tidySite("shop", map[string]bool{w.release: true})
	}
	if w.IntN(4) == 0 {
		_ = w.a.tidySite("shop", nil) // as if it were removed: home and tmp go
		if err := folders.Prepare(w.d, w.acc, w.a.root); err != nil {
			t.Errorf("prepare: %v", err)
		}
		_ = os.MkdirAll(w.d.Release(w.release), 0o755)
	}
}

// serve asks for everything that could be there.
func (w *race) serve(t *testing.T, data []string) {
	t.Helper()
	done := make(chan *staticSite, 1)
	go func() {
		s, err := w.a.openStatic("shop", w.release, sites.Settings{Kind: sites.KindStatic, Front: sites.Front{Path: "/"}, Data: data})
		if err != nil {
			s = nil
		}
		done <- s
	}()
	var s *staticSite
	select {
	case s = <-done:
	case <-time.After(time.Minute):
		t.Fatal("the site holds up the agent, which opens a data folder")
	}
	if s == nil {
		w.refused++
		return
	}
	defer s.Close()
	var wg sync.WaitGroup
	for _, name := range data {
		for _, file := range []string{"secret", "x", "x/secret", "a/b/secret", "closed/secret", "new", "deep/secret"} {
			wg.Go(func() {
				rec := httptest.NewRecorder()
				s.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/"+name+"/"+file, nil))
				if strings.Contains(rec.Body.String(), othersSecret) {
					t.Errorf("%s/%s is sent to visitors and is not the site's", name, file)
				}
			})
		}
	}
	wg.Wait()
	w.answers++
}
