package sites

import (
	"encoding/json"
	"reflect"
	"testing"
)

// What is done to a clone reaches none of the lists and maps of the original, whichever setting has one.
func TestClonesShareNothing(t *testing.T) {
	var s Settings
	fill(t, reflect.ValueOf(&s).Elem())
	before, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	c := clone(&s)
	if !reflect.DeepEqual(c, s) {
		t.Errorf("a clone differs:\n%+v\n%+v", c, s)
	}
	spoil(reflect.ValueOf(&c).Elem())
	if after, err := json.Marshal(s); err != nil || string(after) != string(before) {
		t.Errorf("a change of the clone made of %s\n%s (%v)", before, after, err)
	}
	if c := clone(&Settings{Front: Front{Hosts: []string{}, Rewrite: []Rewrite{}}}); c.Hosts != nil || c.Rewrite == nil {
		t.Errorf("empty lists became %#v and %#v", c.Hosts, c.Rewrite)
	}
}

// fill gives every list and map of a struct something.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			fill(t, f)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 2, 2))
		case reflect.Map:
			f.Set(reflect.ValueOf(map[string]string{"A": "1"}))
		case reflect.Pointer, reflect.Interface, reflect.Array:
			t.Fatalf("%s is of a kind that this test cannot fill", v.Type().Field(i).Name)
		}
	}
}

// spoil changes what lists and maps hold.
func spoil(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			spoil(f)
		case reflect.Slice:
			f.Index(0).SetString("spoiled")
		case reflect.Map:
			f.SetMapIndex(reflect.ValueOf("A"), reflect.ValueOf("spoiled"))
		}
	}
}
