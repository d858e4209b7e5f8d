package frontdoor

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"portico/conf"
)

// reloaded are the settings that a reload takes over. An agent reads its own at its start alone, and a proxy has no use for them.
var reloaded = []string{"log.level", "tls.certificate", "site", "agent"}

// TestReloadNamesWhatWaits: whatever else is changed in the file is named at the reload, so that nobody takes it for done.
func TestReloadNamesWhatWaits(t *testing.T) {
	changed := 0
	var walk func(path string, field func(*conf.Config) reflect.Value)
	walk = func(path string, field func(*conf.Config) reflect.Value) {
		was := conf.Default()
		typ := field(&was).Type()
		if typ.Kind() == reflect.Struct {
			for i := range typ.NumField() {
				name := typ.Field(i).Tag.Get("toml")
				walk(strings.TrimPrefix(path+"."+name, "."), func(c *conf.Config) reflect.Value { return field(c).Field(i) })
			}
			return
		}
		if slices.ContainsFunc(reloaded, func(r string) bool { return path == r || strings.HasPrefix(path, r+".") }) {
			return
		}
		now := conf.Default()
		set(t, path, field(&now))
		changed++
		named := needRestart(was, now)
		if len(named) != 1 || !strings.HasPrefix(path, strings.Split(named[0], ".")[0]) {
			t.Errorf("a changed %s is told as %q", path, named)
		}
	}
	walk("", func(c *conf.Config) reflect.Value { return reflect.ValueOf(c).Elem() })
	if changed < 40 {
		t.Errorf("only %d settings were changed", changed)
	}
}

// set gives a setting another value than it has.
func set(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	default:
		t.Errorf("%s is a %s: say here how it is changed", path, v.Kind())
	}
}
