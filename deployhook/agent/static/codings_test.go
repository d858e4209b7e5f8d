package static

import "testing"

func TestChooseCoding(t *testing.T) {
	have := []string{"br", "zstd", "gzip"}
	for in, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "GZIP": "gzip", "x-gzip": "gzip", "br;q=0": "", "*": "br", "*;q=0": "",
		"gzip;q=0.5, br;q=0.4": "gzip", "gzip;q=2": "", "gzip;q=x": "", "identity;q=1, gzip;q=0.5": "", "zstd, gzip": "zstd", ",,": "",
	} {
		if got := chooseCoding([]string{in}, have); got != want {
			t.Errorf("%q chooses %q, want %q", in, got, want)
		}
	}
}

func FuzzChooseCoding(f *testing.F) {
	f.Add("gzip;q=0.5, br, *;q=0")
	f.Fuzz(func(t *testing.T, s string) {
		if c := chooseCoding([]string{s}, []string{"br", "gzip"}); c != "" && c != "br" && c != "gzip" {
			t.Errorf("chose %q", c)
		}
	})
}
