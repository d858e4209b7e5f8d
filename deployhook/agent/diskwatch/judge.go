package diskwatch

import (
	"fmt"
	"time"

	"portico/internal/units"
)

// Room is what a file system has; zero fields are not known.
type Room struct {
	Free, Total  int64 // bytes that programs without privileges may use, and all
	Names, AllOf int64 // files that can still be made, and all that there can be
}

// share is the largest part of a file system that a reserve may be: a tenth. On a
// small one, a reserve that was meant for larger ones would always be touched.
const share = 10

// A twentieth of a file system's files are kept free, and no more than keptNames:
// as many as sites can make between two looks.
const (
	namesShare = 20
	keptNames  = 200_000
)

func (r Room) reserveNames() int64 { return min(r.AllOf/namesShare, keptNames) }

// reserve returns what must stay free of r where want is asked for.
func (r Room) reserve(want int64) int64 { return min(want, r.Total/share) }

// low reports whether less than the reserve is free, in bytes or in files. Once
// touched, a quarter more must be free again before it is well: else sites would start and
// stop in turns.
func (r Room) low(want int64, touched bool) (bytes, names bool) {
	if want <= 0 {
		return false, false
	}
	bytesWant, namesWant := r.reserve(want), r.reserveNames()
	if touched {
		bytesWant += bytesWant / 4
		namesWant += namesWant / 4
	}
	return r.Total > 0 && r.Free < bytesWant, r.AllOf > 0 && r.Names < namesWant
}

// suspectPart of the reserve is the least growth of a site that counts as a cause.
const suspectPart = 8

// growth is how far a site has grown in a time.
type growth struct {
	site         string
	bytes, names int64
	in           time.Duration
}

// culprit returns the site that has grown most, if any has grown by enough to be
// the cause: an eighth of the reserve. Lists are asked in turn: who grows now
// comes before who grew a while ago.
func culprit(r Room, want int64, names bool, lists ...[]growth) (growth, bool) {
	least := r.reserve(want) / suspectPart
	of := func(g growth) int64 { return g.bytes }
	if names {
		least, of = r.reserveNames()/suspectPart, func(g growth) int64 { return g.names }
	}
	for _, list := range lists {
		var most growth
		for _, g := range list {
			if n := of(g); n >= max(least, 1) && n > of(most) {
				most = g
			}
		}
		if most.site != "" {
			return most, true
		}
	}
	return growth{}, false
}

// reserveReason says why the site that has grown most is stopped.
func reserveReason(dir string, g growth, r Room, want int64, names bool) string {
	if names {
		return fmt.Sprintf("stopped: the file system of %s can hold only %d more files, of %d, and this site has made most of the last ones, %d in %v: remove files; it starts again by itself when there is room",
			dir, r.Names, r.AllOf, g.names, max(g.in, time.Second).Round(time.Second))
	}
	return fmt.Sprintf("stopped: the file system of %s has %s free, less than its reserve of %s (agent.disk_reserve), and this site has grown most, by %s in %v: free some room; it starts again by itself when %s are free",
		dir, size(r.Free), size(r.reserve(want)), size(g.bytes), max(g.in, time.Second).Round(time.Second), size(r.reserve(want)*5/4))
}

// near reports whether a limit is worth a warning: nine tenths of it are used.
func near(use, limit int64) bool { return limit > 0 && use <= limit && use > limit/10*9 }

func limitReason(root string, use, limit int64) string {
	return fmt.Sprintf("stopped: it has %s on disk here, more than limits.disk = %q: remove files in %s, or raise the limit; it starts again by itself then",
		size(use), units.Size(limit), root)
}

// size is a number of bytes for people.
func size(n int64) string {
	for _, u := range []struct {
		name   string
		factor int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.factor {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.factor), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
