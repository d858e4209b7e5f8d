package sites_test

import (
	"encoding/json"
	"testing"

	"portico/conf/sites"
)

// Every setting is of the process, and changes its shape, or is followed by what runs.
func TestShapeIsWhatAProcessKeeps(t *testing.T) {
	base := sites.Settings{Run: []string{"./shop"}}
	for patch, same := range map[string]bool{
		`{"env":{"X":"1"}}`:                        false,
		`{"run":["./shop","-v"]}`:                  false,
		`{"user":"shop"}`:                          false,
		`{"data":["uploads"]}`:                     false,
		`{"limits":{"memory":"1GiB"}}`:             false,
		`{"limits":{"cpu":1.5}}`:                   false,
		`{"limits":{"files":100}}`:                 false,
		`{"limits":{"processes":100}}`:             false,
		`{"protocol":"h2c"}`:                       false,
		`{"protocol":"http/1.1"}`:                  true, // the default
		`{"limits":{"files":4096}}`:                true, // the default
		`{"limits":{"body":"1GiB","disk":"1GiB"}}`: true,
		`{"policy":"first","path":"/shop"}`:        true,
		`{"session":{"idle":"1h"}}`:                true,
		`{"health":{"path":"/up"}}`:                true,
		`{"deploy":{"timeout":"2m"}}`:              true,
	} {
		other, err := sites.Join(base, json.RawMessage(patch))
		if err != nil {
			t.Fatal(err)
		}
		if base.SameShape(other) != same {
			t.Errorf("%s: same process is %v, want %v", patch, !same, same)
		}
	}
	war := sites.Settings{Kind: sites.KindTomcat}
	if moved := (sites.Settings{Kind: sites.KindTomcat, Front: sites.Front{Path: "/shop"}}); war.SameShape(moved) {
		t.Error("a web application is installed at its path, and cannot move")
	}
}

func TestMergeShape(t *testing.T) {
	got, err := sites.MergeShape(json.RawMessage(`{"ENV":{"A":"now"},"policy":"first","limits":{"memory":1,"body":2}}`),
		json.RawMessage(`{"env":{"A":"then"},"policy":"random","limits":{"cpu":1,"body":3}}`))
	if err != nil || string(got) != `{"env":{"A":"then"},"limits":{"body":2,"cpu":1},"policy":"first"}` {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := sites.MergeShape(json.RawMessage(`{"env":{"A":"1"}}`), json.RawMessage(`{}`)); err != nil || got != nil {
		t.Errorf("got %s, %v", got, err)
	}
}
