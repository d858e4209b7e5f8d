package frontdoor

import (
	"errors"
	"strings"
	"testing"
)

// TestNothingEndsForACatalogThatCannotBeHandedOver: a catalog that met a fault may not close. It is asked first, so that the admin page and
// all else go on where another process could not have it. One that is well works until all that needs it has ended.
func TestNothingEndsForACatalogThatCannotBeHandedOver(t *testing.T) {
	stuck, fault := errors.New("its files are open"), errors.New("no space left on device")
	for _, c := range []struct {
		fault, suspend error
		want           string
	}{
		{nil, nil, "stop save suspend"},
		{nil, stuck, "stop save suspend"},
		{fault, nil, "suspend stop save suspend"},
		{fault, stuck, "suspend"},
	} {
		var did []string
		err := release{
			fault:   func() error { return c.fault },
			suspend: func() error { did = append(did, "suspend"); return c.suspend },
			stop:    func() { did = append(did, "stop") },
			save:    func() { did = append(did, "save") },
		}.do()
		if got := strings.Join(did, " "); got != c.want || !errors.Is(err, c.suspend) {
			t.Errorf("fault %v, suspend %v: %s, %v; want %s", c.fault, c.suspend, got, err, c.want)
		}
	}
}
