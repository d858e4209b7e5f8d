package catalog

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// Every setting is of the process, and changes its shape, or is followed by what runs.
func TestShapeIsWhatAProcessKeeps(t *testing.T) {
	base := Settings{Run: []string{"./shop"}}
	for patch, same := range map[string]bool{
		`{"env":{"X":"1"}}`:                        false,
		`{"run":["./shop","-v"]}`:                  false,
		`{"user":"shop"}`:                          false,
		`{"data":["uploads"]}`:                     false,
		`{"limits":{"memory":"1GiB"}}`:             false,
		`{"limits":{"cpu":1.5}}`:                   false,
		`{"limits":{"files":100}}`:                 false,
		`{"limits":{"processes":100}}`:             false,
		`{"limits":{"files":4096}}`:                true, // the default
		`{"limits":{"body":"1GiB","disk":"1GiB"}}`: true,
		`{"policy":"first","path":"/shop"}`:        true,
		`{"session":{"idle":"1h"}}`:                true,
		`{"health":{"path":"/up"}}`:                true,
		`{"deploy":{"timeout":"2m"}}`:              true,
	} {
		other, err := Join(base, json.RawMessage(patch))
		if err != nil {
			t.Fatal(err)
		}
		if base.SameShape(other) != same {
			t.Errorf("%s: same process is %v, want %v", patch, !same, same)
		}
	}
	war := Settings{Kind: KindTomcat}
	if moved := (Settings{Kind: KindTomcat, Path: "/shop"}); war.SameShape(moved) {
		t.Error("a web application is installed at its path, and cannot move")
	}
}

func TestWithShape(t *testing.T) {
	got, err := withShape(json.RawMessage(`{"ENV":{"A":"now"},"policy":"first","limits":{"memory":1,"body":2}}`),
		json.RawMessage(`{"env":{"A":"then"},"policy":"random","limits":{"cpu":1,"body":3}}`))
	if err != nil || string(got) != `{"env":{"A":"then"},"limits":{"body":2,"cpu":1},"policy":"first"}` {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := withShape(json.RawMessage(`{"env":{"A":"1"}}`), json.RawMessage(`{}`)); err != nil || got != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestReleaseNames(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for id, valid := range map[string]bool{digest: true, digest + "-1": true, digest + "-0": false, digest + "-01": false, digest + "-": false, digest + "-x": false, digest + "/..": false, "ab": false} {
		if err := ValidRelease(id); (err == nil) != valid {
			t.Errorf("%s: %v", id, err)
		}
	}
	if got := ShortRelease(digest + "-12"); got != "abababababab-12" {
		t.Errorf("got %s", got)
	}
	if !NamesRelease("ababab", digest+"-2") || !NamesRelease("ababab-2", digest+"-2") || NamesRelease("ababab-1", digest+"-2") || NamesRelease("ac", digest) {
		t.Error("the wrong releases are named")
	}
}

// Other settings of the same files do not push former files out of those that are kept, and a
// release's environment is stored sealed, wherever it came from.
func TestReleasesOfTheSameFilesAreKeptApart(t *testing.T) {
	b := newBench(t)
	old, files := strings.Repeat("aa", 32), strings.Repeat("bb", 32)
	run := func(r DeployRequest, change string) string {
		t.Helper()
		now := benchTime
		var d Deploy
		b.must(func(tx *Tx) (err error) {
			r.ID, r.By, r.Now = NewID(time.Now()), "op", now
			if change != "" {
				d, _, err = SetOverride(tx, []byte(change), r)
			} else {
				d, err = BeginDeploy(tx, r)
			}
			return err
		})
		b.must(func(tx *Tx) error { _, err := PromoteDeploy(tx, d.ID, now); return err })
		b.must(func(tx *Tx) error {
			_, _, err := DropRetired(tx, "shop", func(Site, Retiring) bool { return true }, now)
			return err
		})
		return d.Release
	}
	manifest := Settings{Run: []string{"./shop"}, Deploy: DeploySettings{Keep: 1}}
	run(DeployRequest{Release: Release{Site: "shop", Digest: old, Manifest: manifest, Created: benchTime}}, "")
	run(DeployRequest{Release: Release{Site: "shop", Digest: files, Manifest: manifest, Created: benchTime}}, "")
	for i, change := range []string{`{"env":{"A":"1"}}`, `{"env":{"A":"2"}}`, `{"env":{"A":"3"}}`} {
		if got, want := run(DeployRequest{Release: Release{Site: "shop"}}, change), files+"-"+string(rune('1'+i)); got != want {
			t.Fatalf("deployed as %s, want %s", got, want)
		}
	}
	if got := run(DeployRequest{Release: Release{Site: "shop"}}, `{"env":{"A":"2"}}`); got != files+"-2" && got != files+"-4" {
		t.Errorf("settings that it had before were deployed as %s", got)
	}
	v := b.v
	if v.Releases["shop"][old] == nil || len(v.Releases["shop"]) != 3 {
		t.Errorf("kept are %v", sortedKeys(v.Releases["shop"]))
	}
	if s := string(v.Sites["shop"].Override); s != `{"env":{"A":"2"}}` {
		t.Errorf("operators have set %s", s)
	}
}

// What people read in a list is a name, also where other settings made later releases of the same files.
func TestTheShownNameIsTheRelease(t *testing.T) {
	files := strings.Repeat("ab", 32)
	releases := map[string]*Release{}
	for i, id := range []string{files, files + "-1", files + "-2"} {
		releases[id] = &Release{Digest: id, Created: time.Unix(int64(i), 0)}
	}
	v := &View{Releases: map[string]map[string]*Release{"shop": releases}}
	for text, want := range map[string]string{
		ShortRelease(files):        files,
		ShortRelease(files + "-1"): files + "-1",
		files[:8]:                  files + "-2",
		files[:8] + "-1":           files + "-1",
		files:                      files,
	} {
		if r, err := ReleaseByPrefix(v, "shop", text); err != nil || r.Digest != want {
			t.Errorf("%s names %s (%v), want %s", text, ShortRelease(r.Digest), err, ShortRelease(want))
		}
	}
}
