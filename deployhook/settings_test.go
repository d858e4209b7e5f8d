package deployhook_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"portico/deployhook/reply"
	"portico/deployhook/wanted"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// A process keeps what it got at its start. So other settings of it are a deploy of the files
// that run, which can fail and be rolled back like any other.
func TestSettingsOfTheProcessAreADeploy(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	first := c.deploy("shop", map[string]string{"index.html": "one"}, catalog.DeploySucceeded)
	old := c.instanceOf("web1", first.Release)
	c.mu.Lock()
	c.load[old] = [2]int{3, 0}
	c.mu.Unlock()

	if _, begun, err := c.Set(t.Context(), "shop", []byte(`{"policy":"random"}`), "ann"); err != nil || begun {
		t.Fatalf("another policy began a deploy: %v, %v", begun, err)
	}
	d, begun, err := c.Set(t.Context(), "shop", []byte(`{"env":{"X":"1"}}`), "ann")
	if err != nil || !begun || !d.Settings || d.Previous != first.Release || ids.FilesOf(d.Release) != first.Release || d.Release == first.Release {
		t.Fatalf("the change began %v %+v: %v", begun, d, err)
	}
	if _, _, err := c.Set(t.Context(), "shop", []byte(`{"policy":"first"}`), "ann"); reply.RefusalOf(err).Status != 409 {
		t.Errorf("a second change meanwhile got %v", err)
	}
	c.ended(d.ID, catalog.DeploySucceeded)
	s := c.site("shop")
	if s.Release != d.Release || len(s.Retiring) != 1 || s.Retiring[0].Release != first.Release || !sameOverride(s, `{"policy":"random","env":{"X":"1"}}`) {
		t.Fatalf("the site is %+v", s)
	}
	env := map[string]string{} // by release
	for _, r := range wanted.Of(c.catalog.View(), "web1").Releases {
		env[r.Release] = r.Settings.Env["X"]
	}
	if len(env) != 2 || env[first.Release] != "" || env[d.Release] != "1" {
		t.Errorf("web1 is to run %v: the former one must keep its settings", env)
	}

	// The same files once more change nothing.
	if a := c.upload("shop", "wait=1", bytes.NewReader(zipped(t, map[string]string{"index.html": "one"}))); !a.Same || a.Release != d.Release {
		t.Errorf("the files that run were deployed as %s", a.text)
	}

	// What does not get healthy changes nothing either.
	c.agent("web1").change(func(a *agent) { a.sick["*"] = true })
	failed, _, err := c.Set(t.Context(), "shop", []byte(`{"env":{"X":"2"},"policy":"first"}`), "ann")
	if err != nil {
		t.Fatal(err)
	}
	c.ended(failed.ID, catalog.DeployFailed)
	if s := c.site("shop"); s.Release != d.Release || !sameOverride(s, `{"policy":"random","env":{"X":"1"}}`) {
		t.Errorf("after a failure the site is %+v", s)
	}
	c.agent("web1").change(func(a *agent) { delete(a.sick, "*") })

	// Back to the settings before, and back to other files with the settings of now.
	back, err := c.Rollback(t.Context(), "shop", "", false, "ann")
	if err != nil || back.Release != first.Release {
		t.Fatalf("rolled back to %+v: %v", back, err)
	}
	c.ended(back.ID, catalog.DeploySucceeded)
	if s := c.site("shop"); !sameOverride(s, `{"policy":"random"}`) {
		t.Errorf("after the rollback operators have set %s", s.Override)
	}
	c.deploy("shop", map[string]string{"index.html": "two"}, catalog.DeploySucceeded)
	d, _, err = c.Set(t.Context(), "shop", []byte(`{"env":{"X":"3"}}`), "ann")
	if err != nil {
		t.Fatal(err)
	}
	c.ended(d.ID, catalog.DeploySucceeded)
	if back, err = c.Rollback(t.Context(), "shop", first.Release, false, "ann"); err != nil {
		t.Fatal(err)
	}
	c.ended(back.ID, catalog.DeploySucceeded)
	s = c.site("shop")
	settings, err := s.Effective()
	if ids.FilesOf(s.Release) != first.Release || s.Release == first.Release || err != nil || settings.Env["X"] != "3" {
		t.Errorf("other files run as %s with %v: %v", s.Release, settings.Env, err)
	}
}

func sameOverride(s catalog.Site, want string) bool {
	var a, b any
	return json.Unmarshal(s.Override, &a) == nil && json.Unmarshal([]byte(want), &b) == nil && equalJSON(a, b)
}

func equalJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}
