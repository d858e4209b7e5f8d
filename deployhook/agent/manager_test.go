package agent

import (
	"slices"
	"strings"
	"testing"
)

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
