package catalog

import (
	"context"
	"fmt"
	"time"

	"portico/internal/pause"
	"portico/membership/catalog/ids"
)

// leadEvery is how often a proxy asks whether it may lead.
const leadEvery = time.Second

// Lead waits until this proxy is the one that leads in a task, and returns a
// context that ends when it is not any more: when resign is called, or its lease has
// run out because the store could not be reached. Another proxy leads at once after
// resign, and at most 15 seconds after this process has died; a new process of the same
// proxy takes over from the one before it without waiting. A late write of who
// led before is possible: changes compare what they read.
func (c *Catalog) Lead(ctx context.Context, task string) (led context.Context, resign func(), err error) {
	if err := ids.Valid("task", task); err != nil {
		return nil, nil, err
	}
	for {
		led, resign, err = c.store.Load().Lead(ctx, task)
		if err != nil {
			return nil, nil, fmt.Errorf("lead in %q: %w", task, err)
		}
		if led != nil {
			return led, resign, nil
		}
		if err := pause.For(ctx, leadEvery); err != nil {
			return nil, nil, fmt.Errorf("lead in %q: %w", task, err)
		}
	}
}
