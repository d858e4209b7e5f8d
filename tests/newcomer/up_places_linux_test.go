package main

import (
	"context"
	"os"
	"testing"
	"time"

	"portico/tests/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}

// The first command of the README works wherever a newcomer happens to be: here with a built program, `make newcomer`
// compiles it there.
func TestUpWorksWhereverItIsStarted(t *testing.T) {
	t.Parallel()
	harness.NeedRoot(t)
	harness.Need(t, "setpriv")
	harness.Need(t, "unshare")
	program := harness.Binary(t)
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), harness.Patience(4*time.Minute))
			defer cancel()
			s, err := p.makeIn(harness.TempDir(t), func(clone string) error { return os.MkdirAll(clone, 0o755) })
			if err != nil {
				t.Fatal(err)
			}
			w := &walk{site: s, env: plainEnviron(), http: harness.Addr(t), admin: harness.Addr(t)}
			for range 2 { // the next start finds what the first has left
				if err := w.firstCommand(ctx, program, "up", "--servers", "1"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
