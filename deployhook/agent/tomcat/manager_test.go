package tomcat

import (
	"slices"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	got := parseList("Listed applications for virtual host [localhost]\n/:running:0:ROOT\n/erp:running:12:erp##000000000012\n/a/b:stopped:0:a#b##x\nnonsense\n")
	want := []App{
		{Context: "/", State: "running"}, {Context: "/erp", Version: "000000000012", State: "running"},
		{Context: "/a/b", Version: "x", State: "stopped"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if v := NextVersion(got, "/erp"); v != "000000000013" {
		t.Errorf("next version is %s", v)
	}
	if v := NextVersion(got, "/a/b"); v != "000000000001" {
		t.Errorf("first version is %s", v)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add("OK\n/:running:0:ROOT\n/x:running:-1:x##9999999999999999999")
	f.Fuzz(func(t *testing.T, s string) {
		for _, a := range parseList(s) {
			if !strings.HasPrefix(a.Context, "/") {
				t.Errorf("context %q", a.Context)
			}
		}
	})
}
