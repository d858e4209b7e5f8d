package command

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// Other settings of the same files do not push former files out of those that are kept, and a
// release's environment is stored sealed, wherever it came from.
func TestReleasesOfTheSameFilesAreKeptApart(t *testing.T) {
	b := newBench(t)
	old, files := strings.Repeat("aa", 32), strings.Repeat("bb", 32)
	run := func(r DeployRequest, change string) string {
		t.Helper()
		now := benchTime
		var d catalog.Deploy
		b.must(func(tx *catalog.Tx) (err error) {
			r.ID, r.By, r.Now = ids.New(time.Now()), "op", now
			if change != "" {
				d, _, err = SetOverride(tx, []byte(change), r)
			} else {
				d, err = BeginDeploy(tx, r)
			}
			return err
		})
		b.must(func(tx *catalog.Tx) error { _, err := PromoteDeploy(tx, d.ID, now); return err })
		b.must(func(tx *catalog.Tx) error {
			_, _, err := DropRetired(tx, "shop", func(catalog.Site, catalog.Retiring) bool { return true }, now)
			return err
		})
		return d.Release
	}
	manifest := sites.Settings{Run: []string{"./shop"}, Deploy: sites.Deploy{Keep: 1}}
	run(DeployRequest{Release: catalog.Release{Site: "shop", Digest: old, Manifest: manifest, Created: benchTime}}, "")
	run(DeployRequest{Release: catalog.Release{Site: "shop", Digest: files, Manifest: manifest, Created: benchTime}}, "")
	for i, change := range []string{`{"env":{"A":"1"}}`, `{"env":{"A":"2"}}`, `{"env":{"A":"3"}}`} {
		if got, want := run(DeployRequest{Release: catalog.Release{Site: "shop"}}, change), files+"-"+string(rune('1'+i)); got != want {
			t.Fatalf("deployed as %s, want %s", got, want)
		}
	}
	if got := run(DeployRequest{Release: catalog.Release{Site: "shop"}}, `{"env":{"A":"2"}}`); got != files+"-2" && got != files+"-4" {
		t.Errorf("settings that it had before were deployed as %s", got)
	}
	v := b.v
	if v.Releases["shop"][old] == nil || len(v.Releases["shop"]) != 3 {
		t.Errorf("kept are %v", slices.Sorted(maps.Keys(v.Releases["shop"])))
	}
	if s := string(v.Sites["shop"].Override); s != `{"env":{"A":"2"}}` {
		t.Errorf("operators have set %s", s)
	}
}

// What people read in a list is a name, also where other settings made later releases of the same files.
func TestTheShownNameIsTheRelease(t *testing.T) {
	files := strings.Repeat("ab", 32)
	releases := map[string]*catalog.Release{}
	for i, id := range []string{files, files + "-1", files + "-2"} {
		releases[id] = &catalog.Release{Digest: id, Created: time.Unix(int64(i), 0)}
	}
	v := &catalog.View{Releases: map[string]map[string]*catalog.Release{"shop": releases}}
	for text, want := range map[string]string{
		ids.ShortRelease(files):        files,
		ids.ShortRelease(files + "-1"): files + "-1",
		files[:8]:                      files + "-2",
		files[:8] + "-1":               files + "-1",
		files:                          files,
	} {
		if r, err := ReleaseByPrefix(v, "shop", text); err != nil || r.Digest != want {
			t.Errorf("%s names %s (%v), want %s", text, ids.ShortRelease(r.Digest), err, ids.ShortRelease(want))
		}
	}
}
