package conf_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"portico/conf"
	"portico/internal/units"
)

type kind string

type manifest struct {
	Kind   kind              `toml:"kind"`
	Hosts  []string          `toml:"hosts"`
	Strip  bool              `toml:"strip"`
	Env    map[string]string `toml:"env"`
	Health struct {
		Interval units.Duration `toml:"interval"`
		Rise     int            `toml:"rise"`
	} `toml:"health"`
	Body units.Size `toml:"body"`
	Note string     // no tag: its key is "note"
	Skip string     `toml:"-"`
}

// Decode serves any struct with toml tags, a site's manifest among them.
func TestDecode(t *testing.T) {
	m := manifest{Strip: true, Note: "kept"}
	err := conf.Decode("portico.toml", []byte(`
kind = "run"
hosts = ["a.example.com"]
env = { A = "1", "b.c" = "2" }
body = 1024
health.interval = "5s"
[health]
`), &m)
	// The last line defines [health] a second time, which TOML forbids.
	if err == nil {
		t.Fatal("a table defined twice is accepted")
	}
	err = conf.Decode("portico.toml", []byte("\xef\xbb\xbfkind = \"run\"\r\nhosts = [\"a.example.com\"]\r\nenv = { A = \"1\", \"b.c\" = \"2\" }\r\nbody = 1024\r\n[health]\r\ninterval = \"5s\"\r\n"), &m)
	if err != nil {
		t.Fatal(err)
	}
	want := manifest{Kind: "run", Hosts: []string{"a.example.com"}, Strip: true, Env: map[string]string{"A": "1", "b.c": "2"}, Body: 1024, Note: "kept"}
	want.Health.Interval = units.Duration(5 * time.Second)
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeMistakes(t *testing.T) {
	var m manifest
	err := conf.Decode("portico.toml", []byte("skip = \"x\"\nkind = 1\nhosts = [1]\nenv = [\"A=1\"]\nhealth = 3\nenvs = 1979-05-27\nstrip = 2026-01-01\n"), &m)
	var mistakes conf.Mistakes
	if !errors.As(err, &mistakes) {
		t.Fatalf("%T: %v", err, err)
	}
	var got []string
	for _, m := range mistakes {
		got = append(got, m.Key+": "+m.Message)
	}
	want := []string{
		`skip: unknown key "skip" at the top: known are body, env, health, hosts, kind, note, strip`,
		`kind: kind is the number 1: write text in quotes`,
		`hosts[0]: hosts[0] is the number 1: write text in quotes`,
		`env: env is a table: write [env] and its keys below`,
		`health: health is a table: write [health] and its keys below`,
		`envs: unknown key "envs" at the top: did you mean "env"?`,
		`strip: strip is a date or time: write true or false, without quotes`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A mistake can be shown to anybody, whatever stands in the file.
func FuzzDecode(f *testing.F) {
	f.Add(example)
	f.Add([]byte("[[site]]\nname=\"a\"\nhealth={interval=\"1s\"}\n[[site.upstream]]\naddr=\"[::1]:80\"\n[[site]]\n[site.upstream]\n"))
	f.Add([]byte("site.0.name = 1\n[\"a.b\".'c[0]']\n\"\" = {}\n"))
	f.Add([]byte("a = [[[[{}]]]]\n[proxy]\n\thttp\t=\t\"\x1b\"\n"))
	for _, pattern := range []string{"testdata/*.toml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := conf.Load(data, "portico.toml", nil)
		if err == nil {
			if err := c.Validate(); err != nil {
				t.Fatalf("Load accepts what Validate refuses: %v", err)
			}
			return
		}
		if !reflect.DeepEqual(c, conf.Config{}) {
			t.Fatal("a refused configuration is not empty")
		}
		var mistakes conf.Mistakes
		if !errors.As(err, &mistakes) || len(mistakes) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
		for _, m := range mistakes {
			s := m.String()
			if m.Message == "" || utf8.Valid(data) && !utf8.ValidString(s) || strings.ContainsAny(s, "\x1b\x00\x07\r") {
				t.Fatalf("unfit to show: %q", s)
			}
		}
	})
}
