package catalog_test

import (
	"log/slog"
	"strings"
	"testing"

	"portico/membership/catalog"
	"portico/tests/support/written"
)

// TestAloneIsElectedAtOnce: a single proxy's catalog waits for no tick of raft's clock to lead itself, neither at its first start nor
// later. Its ticks may be rare then, which is what a proxy at rest was woken by most.
func TestAloneIsElectedAtOnce(t *testing.T) {
	o := catalog.Options{Dir: t.TempDir(), Name: "proxy-1", Key: key}
	for _, start := range []string{"first", "second"} {
		log := &written.Buffer{}
		o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c, err := catalog.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		led := c.HasLeader()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if said := log.String(); !led || !strings.Contains(said, "received MsgTimeoutNow") {
			t.Errorf("%s start: led %v\n%s", start, led, said)
		}
	}
}
