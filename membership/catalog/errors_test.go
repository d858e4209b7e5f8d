package catalog_test

import (
	"errors"
	"fmt"
	"testing"

	"portico/membership/catalog"
)

// TestText: people read what is wrong, not which kind of error it is in the program.
func TestText(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("plain"), "plain"},
		{fmt.Errorf("%w: site %q runs", catalog.ErrConflict, "shop"), `site "shop" runs`},
		{fmt.Errorf("revoke member %q: %w: it is this proxy", "a", catalog.ErrConflict), `revoke member "a": it is this proxy`},
		{fmt.Errorf("%w: %w", catalog.ErrInvalid, fmt.Errorf("%w: name", catalog.ErrInvalid)), "name"},
		{fmt.Errorf("site %q: %w", "x", catalog.ErrNotFound), `site "x": not found`},
		{errors.Join(fmt.Errorf("%w: one", catalog.ErrInvalid), fmt.Errorf("%w: two", catalog.ErrInvalid)), "one\ntwo"},
	} {
		if got := catalog.Text(tt.err); got != tt.want {
			t.Errorf("%v reads %q, want %q", tt.err, got, tt.want)
		}
	}
}
