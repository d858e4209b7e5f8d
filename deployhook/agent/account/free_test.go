package account

import "testing"

func TestFreeID(t *testing.T) {
	r := Range{First: 100, Count: 3}
	taken := map[string]int{}
	for _, site := range []string{"a", "b", "c"} {
		id, err := Free(site, usualDir, r, taken)
		if err != nil || id < 100 || id > 102 {
			t.Fatalf("%d, %v", id, err)
		}
		for other, o := range taken {
			if o == id {
				t.Errorf("%s and %s share %d", site, other, id)
			}
		}
		taken[site] = id
	}
	if _, err := Free("d", usualDir, r, taken); err == nil {
		t.Error("a fourth id out of three")
	}
}
