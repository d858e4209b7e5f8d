package loop

import "portico/proxy/http1"

// NewWatched is New with functions that are called in a loop's goroutine around each of its turns.
func NewWatched(o http1.Options, begin, end func()) (http1.Driver, error) {
	d, err := New(o)
	if err == nil {
		for _, l := range d.(*server).loops {
			l.watch = &watch{begin, end}
		}
	}
	return d, err
}
