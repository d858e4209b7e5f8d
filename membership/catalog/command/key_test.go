package command_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

func TestSessionKeys(t *testing.T) {
	c := open(t, t.TempDir())
	if keys, err := command.SessionKeys(c); err != nil || keys != nil {
		t.Error(keys, err)
	}
	rotate := func(b byte, now time.Time) error {
		return try(t, c, func(tx *catalog.Tx) error { return command.RotateSessionKey(tx, fill(b), now) })
	}
	keys := func() []command.SessionKey {
		t.Helper()
		k, err := command.SessionKeys(c)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	now := clock
	if err := rotate(1, now); err != nil {
		t.Fatal(err)
	}
	if k := keys(); len(k) != 1 || k[0].ID != 1 || !k[0].From.IsZero() || !k[0].Until.IsZero() {
		t.Errorf("the first key: %+v", k)
	}
	now = now.Add(time.Hour)
	if err := rotate(2, now); err != nil {
		t.Fatal(err)
	}
	from := now.Add(10 * time.Minute)
	if k := keys(); len(k) != 2 || k[0].ID != 2 || k[0].Key[0] != 2 || !k[0].From.Equal(from) || k[1].ID != 1 || !k[1].Until.Equal(from.Add(24*time.Hour)) {
		t.Errorf("with a second key: %+v", k)
	}
	refused := func(when time.Time, why string) {
		t.Helper()
		if err := rotate(9, when); !errors.Is(err, catalog.ErrConflict) {
			t.Errorf("%s: %v", why, err)
		}
		if k := keys(); len(k) != 2 || k[0].ID != 2 {
			t.Errorf("%s: %+v", why, k)
		}
	}
	refused(now.Add(time.Minute), "while the second key is only known")
	refused(from.Add(24*time.Hour-time.Second), "while cookies of the first can be about")
	if err := rotate(3, from.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if k := keys(); len(k) != 2 || k[0].ID != 3 || k[1].ID != 2 || k[1].Until.IsZero() {
		t.Errorf("with a third key: %+v", k)
	}
}

// TestSessionKeyOutlivesIdleTimes: the key before opens for as long as the site whose
// sessions idle longest needs it, but not for ever.
func TestSessionKeyOutlivesIdleTimes(t *testing.T) {
	f := func(idle, want time.Duration) {
		t.Helper()
		c := open(t, t.TempDir())
		update(t, c, func(tx *catalog.Tx) error {
			return tx.PutSite(catalog.Site{Name: "shop", Override: fmt.Appendf(nil, `{"session":{"idle":%q}}`, idle)})
		})
		for i := range 2 {
			update(t, c, func(tx *catalog.Tx) error {
				return command.RotateSessionKey(tx, fill(byte(i+1)), clock)
			})
		}
		k, err := command.SessionKeys(c)
		if err != nil || len(k) != 2 {
			t.Fatal(k, err)
		}
		if got := k[1].Until.Sub(k[0].From); got != want {
			t.Errorf("idle %s: the key before is kept %s, want %s", idle, got, want)
		}
	}
	f(time.Minute, 24*time.Hour)
	f(4*24*time.Hour, 5*24*time.Hour+10*time.Minute)
	f(300*24*time.Hour, 30*24*time.Hour)
}
