package diskwatch

import "testing"

// TestLow: the reserve at its edges, on large and small file systems, by bytes and by files.
func TestLow(t *testing.T) {
	const gib = 1 << 30
	for _, tt := range []struct {
		name         string
		room         Room
		want         int64
		touched      bool
		bytes, names bool
	}{
		{"at the reserve", Room{Free: gib, Total: 100 * gib}, gib, false, false, false},
		{"below it", Room{Free: gib - 1, Total: 100 * gib}, gib, false, true, false},
		{"no reserve", Room{Total: 100 * gib}, 0, false, false, false},
		{"a tenth of a small one", Room{Free: gib / 10, Total: gib}, gib, false, false, false},
		{"below a tenth", Room{Free: gib/10 - 1, Total: gib}, gib, false, true, false},
		{"touched, not yet a quarter more", Room{Free: gib * 5 / 4, Total: 100 * gib}, gib, true, false, false},
		{"touched, well again", Room{Free: gib*5/4 - 1, Total: 100 * gib}, gib, true, true, false},
		{"files", Room{Free: gib, Total: gib, Names: 49, AllOf: 1000}, gib, false, false, true},
		{"files at the edge", Room{Free: gib, Total: gib, Names: 50, AllOf: 1000}, gib, false, false, false},
		{"files of a large one", Room{Free: gib, Total: gib, Names: keptNames, AllOf: 1e9}, gib, false, false, false},
		{"a system that does not tell", Room{}, gib, false, false, false},
	} {
		if b, n := tt.room.low(tt.want, tt.touched); b != tt.bytes || n != tt.names {
			t.Errorf("%s: %v, %v", tt.name, b, n)
		}
	}
}

// TestCulprit: who grows now comes before who grew, and nobody who grew by little is one.
func TestCulprit(t *testing.T) {
	r := Room{Total: 1 << 40, AllOf: 1 << 20}
	const want, least = 800, 100
	for _, tt := range []struct {
		name        string
		now, before []growth
		site        string
	}{
		{"nobody", nil, nil, ""},
		{"little", []growth{{site: "a", bytes: least - 1}}, []growth{{site: "a", bytes: least - 1}}, ""},
		{"enough", []growth{{site: "a", bytes: least}}, nil, "a"},
		{"the most", []growth{{site: "a", bytes: least}, {site: "b", bytes: least + 1}}, nil, "b"},
		{"now before then", []growth{{site: "a", bytes: least}}, []growth{{site: "b", bytes: 100 * least}}, "a"},
		{"then", []growth{{site: "a", bytes: 1}}, []growth{{site: "b", bytes: least}}, "b"},
		{"shrunk", []growth{{site: "a", bytes: -5000}}, nil, ""},
	} {
		if g, _ := culprit(r, want, false, tt.now, tt.before); g.site != tt.site {
			t.Errorf("%s: %q, want %q", tt.name, g.site, tt.site)
		}
	}
}
