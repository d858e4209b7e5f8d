package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

func errf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// visitOK gets path and wants a 200.
func visitOK(v *harness.Visitor, path string) (*http.Response, []byte, error) {
	resp, body, err := v.Do(http.MethodGet, path, nil)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errf("%s%s answers %s: %.200s", v.Host, path, resp.Status, body)
	}
	return resp, body, err
}

// logged reports whether the process has printed text.
func logged(p *harness.Process, text string) func() error {
	return func() error {
		if !strings.Contains(p.Log(), text) {
			return errf("the log does not say %q", text)
		}
		return nil
	}
}

// visitors sends n new visitors to path once and returns them with what they saw.
func visitors(t *testing.T, addr, host, path string, n int) ([]*harness.Visitor, []harness.Visit) {
	t.Helper()
	vs, seen := make([]*harness.Visitor, n), make([]harness.Visit, n)
	for i := range vs {
		vs[i] = harness.NewVisitor(t, addr, host)
		seen[i] = vs[i].Get(path)
	}
	return vs, seen
}

// stay visits again and fails for whoever is not where they were, with a
// counter that grew by one.
func stay(t *testing.T, vs []*harness.Visitor, seen []harness.Visit, path string) {
	t.Helper()
	for i, v := range vs {
		got := v.Get(path)
		if got.Server != seen[i].Server || got.Views != seen[i].Views+1 {
			t.Errorf("visitor %d was on %s with %d views and is on %s with %d (lost: %q)",
				i, seen[i].Server, seen[i].Views, got.Server, got.Views, got.Lost)
		}
		seen[i] = got
	}
}

func spread(seen []harness.Visit) map[string]int {
	m := map[string]int{}
	for _, v := range seen {
		m[v.Server]++
	}
	return m
}

// settled waits until n instances of the site take new visitors.
func settled(t *testing.T, p *harness.Proxy, site string, n int) {
	t.Helper()
	harness.Eventually(t, time.Minute, func() error {
		var s struct {
			Pools []struct {
				Name      string
				Upstreams []struct{ Status string }
			}
		}
		p.JSON(&s, "stats", "--json")
		for _, pool := range s.Pools {
			if pool.Name != site {
				continue
			}
			up := 0
			for _, u := range pool.Upstreams {
				if strings.HasPrefix(u.Status, "UP") {
					up++
				}
			}
			if up == n {
				return nil
			}
			return errf("%s has %d instances UP, want %d: %+v", site, up, n, pool.Upstreams)
		}
		return errf("%s has no pool", site)
	})
}

// writeFile writes a file that the test's processes may read.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// pictures returns the folder for screenshots.
func pictures(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("PORTICO_SCREENSHOT"); dir != "" {
		return dir
	}
	return t.TempDir()
}

// write makes a file in a folder, and the folders above it.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// decode reads JSON.
func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %.500s", err, text)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
