package proxies

import (
	"context"
	"slices"

	"portico/deployhook"
)

// Ended is how drains have ended, as the proxies that led them know it, the
// latest first.
func (a *All) Ended(ctx context.Context) []deployhook.EndedDrain {
	out := a.EndedDrains()
	eachOther(ctx, a, askEnded, struct{}{}, func(more []deployhook.EndedDrain) { out = append(out, more...) })
	slices.SortStableFunc(out, func(a, b deployhook.EndedDrain) int { return b.At.Compare(a.At) })
	return out
}
