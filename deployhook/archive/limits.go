package archive

import "cmp"

// Limits bound what one archive may unpack to. A zero field means its default.
type Limits struct {
	Entries int   // files and folders; default 100,000
	File    int64 // bytes of one unpacked file; default 1 GiB
	Total   int64 // bytes of all unpacked files; default 4 GiB
	Ratio   int64 // unpacked bytes for each packed one, looked at after the first 10 MiB; default 200
	Path    int   // bytes of a path; default 512
	Segment int   // bytes of one name in a path; default 255, what file systems take
	Depth   int   // names in a path; default 64
}

// The defaults of Limits.
const (
	DefaultEntries       = 100_000
	DefaultFile    int64 = 1 << 30
	DefaultTotal   int64 = 4 << 30
	DefaultRatio   int64 = 200
	DefaultPath          = 512
	DefaultSegment       = 255
	DefaultDepth         = 64
)

// ratioFree is how much may be unpacked before the ratio is looked at: small
// archives of very regular text compress better than any sane limit.
const ratioFree = 10 << 20

// WithDefaults returns l with every zero field replaced by its default.
func (l Limits) WithDefaults() Limits {
	l.Entries = cmp.Or(l.Entries, DefaultEntries)
	l.File = cmp.Or(l.File, DefaultFile)
	l.Total = cmp.Or(l.Total, DefaultTotal)
	l.Ratio = cmp.Or(l.Ratio, DefaultRatio)
	l.Path = cmp.Or(l.Path, DefaultPath)
	l.Segment = cmp.Or(l.Segment, DefaultSegment)
	l.Depth = cmp.Or(l.Depth, DefaultDepth)
	return l
}
