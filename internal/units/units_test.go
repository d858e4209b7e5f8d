package units_test

import (
	"testing"
	"time"

	"portico/internal/units"
)

func TestDuration(t *testing.T) {
	f := func(in string, want time.Duration, out string) {
		t.Helper()
		var d units.Duration
		if err := d.UnmarshalText([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if d.Std() != want || d.String() != out {
			t.Fatalf("%q is %v, written %q; want %v, %q", in, d.Std(), d, want, out)
		}
	}
	f("30m", 30*time.Minute, "30m")
	f("8h", 8*time.Hour, "8h")
	f("7d", 168*time.Hour, "168h")
	f("0s", 0, "0s")
	f("1h30m", 90*time.Minute, "1h30m")
	f("1h0m5s", time.Hour+5*time.Second, "1h0m5s")
	f("500ms", 500*time.Millisecond, "500ms")

	for _, bad := range []string{"", "30", "-1s", "soon", "d", "-3d"} {
		var d units.Duration
		if err := d.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken as %v", bad, d)
		}
	}
}

func TestSize(t *testing.T) {
	f := func(in string, want int64, out string) {
		t.Helper()
		var s units.Size
		if err := s.UnmarshalText([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if s.Bytes() != want || s.String() != out {
			t.Fatalf("%q is %d, written %q; want %d, %q", in, s.Bytes(), s, want, out)
		}
	}
	f("64MiB", 64<<20, "64MiB")
	f("1 GiB", 1<<30, "1GiB")
	f("1500", 1500, "1500")
	f("12B", 12, "12")
	f("2048", 2048, "2KiB")
	f("0", 0, "0")

	for _, bad := range []string{"", "-1", "64MB", "9000000TiB", "x"} {
		var s units.Size
		if err := s.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken as %d", bad, s)
		}
	}
}
