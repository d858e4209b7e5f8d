package spare

import "testing"

// TestSparesAreGivenBack: buffers that many needed at once are given back when nobody needs them any more, but for a few; those that are
// needed again and again stay.
func TestSparesAreGivenBack(t *testing.T) {
	var m Buffers
	use := func(n int) {
		var lent [][]byte
		for range n {
			for _, size := range sizes {
				lent = append(lent, m.Get(size))
			}
		}
		for _, b := range lent {
			m.Put(b)
		}
	}
	kept := func() (n [3]int) {
		for i := range m.free {
			n[i] = len(m.free[i].list)
		}
		return n
	}
	use(1000)
	if kept() != [3]int{1000, keptBuffers[1], keptBuffers[2]} {
		t.Fatalf("%v are kept behind a burst", kept())
	}
	for range 100 { // seconds
		use(100)
		m.Trim()
	}
	if n := kept(); n != [3]int{100, 100, 100} || !m.Rich() {
		t.Errorf("%v are kept of 100 that are in use", n)
	}
	made := testing.AllocsPerRun(10, func() { use(100) })
	if made > 20 { // the list of this test
		t.Errorf("%v allocations where everything is there", made)
	}
	for range 20 {
		m.Trim()
	}
	if n := kept(); n != [3]int{keptSpares, keptSpares, keptSpares} || m.Rich() {
		t.Errorf("%v are kept of none in use", n)
	}
}
