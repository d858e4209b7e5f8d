package reply_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"portico/deployhook/reply"
	"portico/membership/catalog"
)

// What the catalog cannot do at the moment is 503 and says whether a change may have been made.
func TestCatalogErrorsAreTold(t *testing.T) {
	for _, tt := range []struct {
		err        error
		says, hint string
	}{
		{catalog.ErrNoMajority, "too few of the proxies", "nothing was changed"},
		{catalog.ErrNoAnswer, "did not answer in time", "nothing was changed"},
		{fmt.Errorf("%w: %w", catalog.ErrUncertain, catalog.ErrNoMajority), "stored or not", "look whether it was made"},
		{fmt.Errorf("%w: %w", catalog.ErrUncertain, catalog.ErrLeaderChanged), "went away", "look whether it was made"},
		{fmt.Errorf("%w: no space left", catalog.ErrBroken), "no space left", "make room"},
		{catalog.ErrClosed, "closed", "nothing was changed"},
	} {
		e := reply.RefusalOf(fmt.Errorf("change catalog: %w", tt.err))
		if e.Status != http.StatusServiceUnavailable || e.Code != "unavailable" || !strings.Contains(e.Message, tt.says) || !strings.Contains(e.Hint, tt.hint) {
			t.Errorf("%v is told as %d %s %q (%s)", tt.err, e.Status, e.Code, e.Message, e.Hint)
		}
	}
	if e := reply.RefusalOf(context.DeadlineExceeded); e.Status != http.StatusServiceUnavailable || e.Code != "timeout" {
		t.Errorf("a deadline is told as %+v", e)
	}
	if e := reply.RefusalOf(errors.New("secret detail")); e.Status != http.StatusInternalServerError || strings.Contains(e.Message, "secret") {
		t.Errorf("the program's own error is told as %+v", e)
	}
}
