package deployhook

import (
	"time"

	"portico/membership/catalog"
)

// SetGrace lets objects that no release refers to go sooner.
func (o *Options) SetGrace(d time.Duration) { o.grace = d }

// SameWanted reports whether a waiting member's wanted state is taken to be the same at two views.
func SameWanted(from, to *catalog.View, name string) bool {
	return new(news).sameWanted(from, to, name)
}

// WantedSum is the content of a wanted state without its revision.
var WantedSum = wantedSum
