package folders

import (
	"slices"
	"testing"

	"portico/conf/sites"
	"portico/deployhook/objects"
)

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
		got, err := DataNames(sites.Settings{Data: tt.in})
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("%q: %q, %v", tt.in, got, err)
		}
	}
}

func TestSplitData(t *testing.T) {
	tree := objects.Tree{Files: []objects.File{{Path: "a"}, {Path: "up/x"}, {Path: "up/y/z"}, {Path: "upper"}}}
	rest, seeds, err := SplitData(tree, []string{"up", "new"})
	if err != nil || len(rest.Files) != 2 || len(seeds["up"].Files) != 2 || seeds["up"].Files[1].Path != "y/z" {
		t.Errorf("%+v, %+v, %v", rest, seeds, err)
	}
	if _, _, err := SplitData(tree, []string{"a"}); err == nil {
		t.Error("a file is taken for a data folder")
	}
}
