package agent

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/conf/sites"
	"portico/deployhook/objects"
	"portico/internal/units"
	"portico/membership/catalog"
)

// TestBackoff follows the rule through an hour of a release that ends after a
// second, then through one that ran well for long.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backoff
		began, starts := time.Now(), 0
		var delays []time.Duration
		for time.Since(began) < time.Hour {
			starts++
			time.Sleep(time.Second)
			d := b.next(time.Second)
			delays = append(delays, d)
			time.Sleep(d)
		}
		want := []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600}
		for i, w := range want {
			if delays[i] != w*time.Millisecond {
				t.Errorf("pause %d is %v, want %v", i, delays[i], w*time.Millisecond)
			}
		}
		if last := delays[len(delays)-1]; last != lastDelay {
			t.Errorf("the last pause is %v", last)
		}
		if starts > 140 {
			t.Errorf("G3: %d starts in an hour", starts)
		}
		if !b.looping() {
			t.Error("no crash loop is seen")
		}
		if d := b.next(stableRun); d != firstDelay || b.looping() {
			t.Errorf("after a long run: pause %v, looping %v", d, b.looping())
		}
	})
}

func TestHealth(t *testing.T) {
	s := sites.Health{Rise: 2, Fall: 3}
	for _, tt := range []struct{ checks, states string }{
		{"++", "-U"}, {"+-+", "---"}, {"+-++", "---U"}, {"++--+", "-UUUU"},
		{"++---", "-UUUD"}, {"++--+---", "-UUUUUUD"}, {"++---+", "-UUUDD"}, {"++---++", "-UUUDDU"},
	} {
		h := newHealth()
		var got strings.Builder
		for _, c := range tt.checks {
			h.observe(c == '+', s)
			switch {
			case h.healthy:
				got.WriteByte('U')
			case h.ever:
				got.WriteByte('D')
			default:
				got.WriteByte('-')
			}
		}
		if got.String() != tt.states {
			t.Errorf("checks %s give %s, want %s", tt.checks, got.String(), tt.states)
		}
	}
}

// TestProbeInterval: a start is watched closely at first, then as the setting says.
func TestProbeInterval(t *testing.T) {
	s := sites.Health{Interval: units.Duration(10 * time.Second)}
	h := newHealth()
	var spent time.Duration
	for range 60 {
		h.observe(false, s)
		spent += h.interval(s)
	}
	if d := h.interval(s); d < 9*time.Second || d > 11*time.Second {
		t.Errorf("in the end checks come every %v", d)
	}
	h = newHealth()
	h.observe(true, s)
	if d := h.interval(s); d > 200*time.Millisecond {
		t.Errorf("the second check of a start comes after %v", d)
	}
	h.observe(true, s)
	for number := range 200 {
		if d := beat(10*time.Second, number); d < 2*time.Second || d > 13*time.Second {
			t.Errorf("a healthy instance with the number %d is checked in %v", number, d)
		}
	}
}

func TestExpand(t *testing.T) {
	vars := map[string]string{"PORT": "20001", "A": "$PORT"}
	in := []string{"$PORT", "--p=${PORT}", "$$PORT", "$NONE-", "$A", "plain"}
	want := []string{"20001", "--p=20001", "$PORT", "-", "$PORT", "plain"}
	if got := expand(in, vars); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChooseCoding(t *testing.T) {
	have := []string{"br", "zstd", "gzip"}
	for in, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "GZIP": "gzip", "x-gzip": "gzip", "br;q=0": "", "*": "br", "*;q=0": "",
		"gzip;q=0.5, br;q=0.4": "gzip", "gzip;q=2": "", "gzip;q=x": "", "identity;q=1, gzip;q=0.5": "", "zstd, gzip": "zstd", ",,": "",
	} {
		if got := chooseCoding([]string{in}, have); got != want {
			t.Errorf("%q chooses %q, want %q", in, got, want)
		}
	}
}

func TestDataNames(t *testing.T) {
	for _, tt := range []struct {
		in   []string
		want []string
	}{
		{[]string{"uploads", "./var/cache/"}, []string{"uploads", "var/cache"}},
		{[]string{`a\b`}, []string{"a/b"}},
		{[]string{"../x"}, nil}, {[]string{"/etc"}, nil}, {[]string{"."}, nil}, {[]string{"a/../.."}, nil},
		{[]string{"a", "a/b"}, nil}, {[]string{"a", "a"}, nil},
	} {
		got, err := dataNames(sites.Settings{Data: tt.in})
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("%q: %q, %v", tt.in, got, err)
		}
	}
}

func TestSplitData(t *testing.T) {
	tree := objects.Tree{Files: []objects.File{{Path: "a"}, {Path: "up/x"}, {Path: "up/y/z"}, {Path: "upper"}}}
	rest, seeds, err := splitData(tree, []string{"up", "new"})
	if err != nil || len(rest.Files) != 2 || len(seeds["up"].Files) != 2 || seeds["up"].Files[1].Path != "y/z" {
		t.Errorf("%+v, %+v, %v", rest, seeds, err)
	}
	if _, _, err := splitData(tree, []string{"a"}); err == nil {
		t.Error("a file is taken for a data folder")
	}
}

func TestFreeID(t *testing.T) {
	r := IDRange{First: 100, Count: 3}
	taken := map[string]int{}
	for _, site := range []string{"a", "b", "c"} {
		id, err := freeID(site, usualDir, r, taken)
		if err != nil || id < 100 || id > 102 {
			t.Fatalf("%d, %v", id, err)
		}
		for other, o := range taken {
			if o == id {
				t.Errorf("%s and %s share %d", site, other, id)
			}
		}
		taken[site] = id
	}
	if _, err := freeID("d", usualDir, r, taken); err == nil {
		t.Error("a fourth id out of three")
	}
}

func TestSafeName(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", `a\b`, "../x", "a\x00b", "C:", strings.Repeat("x", 300)} {
		if safeName(bad) == nil {
			t.Errorf("%q is taken for a site name", bad)
		}
	}
	if err := safeName("shop-1"); err != nil {
		t.Error(err)
	}
}

func TestParseList(t *testing.T) {
	got := parseList("Listed applications for virtual host [localhost]\n/:running:0:ROOT\n/erp:running:12:erp##000000000012\n/a/b:stopped:0:a#b##x\nnonsense\n")
	want := []tomcatApp{
		{context: "/", state: "running"}, {context: "/erp", version: "000000000012", state: "running", sessions: 12},
		{context: "/a/b", version: "x", state: "stopped"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if v := nextVersion(got, "/erp"); v != "000000000013" {
		t.Errorf("next version is %s", v)
	}
	if v := nextVersion(got, "/a/b"); v != "000000000001" {
		t.Errorf("first version is %s", v)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add("OK\n/:running:0:ROOT\n/x:running:-1:x##9999999999999999999")
	f.Fuzz(func(t *testing.T, s string) {
		for _, a := range parseList(s) {
			if !strings.HasPrefix(a.context, "/") {
				t.Errorf("context %q", a.context)
			}
		}
	})
}

func FuzzChooseCoding(f *testing.F) {
	f.Add("gzip;q=0.5, br, *;q=0")
	f.Fuzz(func(t *testing.T, s string) {
		if c := chooseCoding([]string{s}, []string{"br", "gzip"}); c != "" && c != "br" && c != "gzip" {
			t.Errorf("chose %q", c)
		}
	})
}

func FuzzLastLines(f *testing.F) {
	f.Add([]byte("a\nb\x1b[2J\n\xff\n"), 2)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		n = max(0, min(n, 100))
		for _, line := range lastLines(b, n) {
			if strings.ContainsAny(line, "\n\x1b\x00") {
				t.Errorf("line %q", line)
			}
		}
	})
}

// TestPatience: an instance that may not stop yet runs for as long as the proxies say so, and for
// a while after the last word of them.
func TestPatience(t *testing.T) {
	begun := time.Unix(1000, 0)
	f := func(heard, now, want time.Duration) {
		t.Helper()
		if got := patience(10*time.Second, begun, begun.Add(heard), begun.Add(now)); got != want {
			t.Errorf("heard %s after the beginning, %s left after %s, want %s", heard, got, now, want)
		}
	}
	f(-time.Minute, 4*time.Second, 6*time.Second) // heard before it was asked
	f(-time.Minute, 10*time.Second, 0)
	f(9*time.Second, 10*time.Second, 9*time.Second)
	f(25*time.Second, 28*time.Second, 7*time.Second)
	f(25*time.Second, 36*time.Second, -time.Second)
}

// A proxy that was heard of is waited for, however it was heard; one that is silent is not.
func TestPatienceWithSeveralProxies(t *testing.T) {
	begun := time.Unix(1_800_000_000, 0)
	at := func(s int) time.Time { return begun.Add(time.Duration(s) * time.Second) }
	for _, c := range []struct {
		what    string
		proxies []string
		heard   map[string]time.Time
		said    map[string]bool
		now     int
		left    int
		missing string
	}{
		{what: "both were just asked", proxies: []string{"a", "b"}, now: 1, left: 9, missing: "a b"},
		{what: "one has let go", proxies: []string{"a", "b"}, said: map[string]bool{"a": true}, heard: map[string]time.Time{"a": at(50)}, now: 4, left: 6, missing: "b"},
		{what: "the other is silent", proxies: []string{"a", "b"}, said: map[string]bool{"a": true}, heard: map[string]time.Time{"a": at(11)}, now: 11},
		{what: "the other connects", proxies: []string{"a", "b"}, said: map[string]bool{"a": true}, heard: map[string]time.Time{"b": at(60)}, now: 61, left: 9, missing: "b"},
		{what: "one says not yet, the other is silent", proxies: []string{"a", "b"}, heard: map[string]time.Time{"a": at(60)}, now: 61, left: 9, missing: "a"},
		{what: "nobody has a name", heard: map[string]time.Time{"": at(5)}, now: 6, left: 9},
		{what: "nobody answers", now: 11},
	} {
		a := &Agent{o: Options{stopWait: 10 * time.Second}, heard: c.heard, peers: newPeers(Options{})}
		for _, name := range c.proxies {
			a.peers.proxies = append(a.peers.proxies, catalog.Peer{Name: name, Addr: name})
		}
		left, missing := a.patience(&stopWaiter{said: c.said}, begun, at(c.now))
		if max(left, 0) != time.Duration(c.left)*time.Second || strings.Join(missing, " ") != c.missing {
			t.Errorf("%s: %v for %q", c.what, left, missing)
		}
	}
}
