package command_test

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

const ticketPeriod = 12 * time.Hour

// counted returns a source of keys that are told apart by their first bytes.
func counted() func() []byte {
	var mu sync.Mutex
	n := uint32(0)
	return func() []byte {
		mu.Lock()
		defer mu.Unlock()
		n++
		return binary.BigEndian.AppendUint32(nil, n)[:4:4]
	}
}

func long(short func() []byte) func() []byte {
	return func() []byte { return append(short(), make([]byte, 28)...) }
}

func ticketKeys(t *testing.T, c *catalog.Catalog) []command.TicketKey {
	t.Helper()
	keys, err := command.TicketKeys(c)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// sealing is the newest key that has begun.
func sealing(keys []command.TicketKey, now time.Time) *command.TicketKey {
	for i := range keys {
		if !now.Before(keys[i].From) {
			return &keys[i]
		}
	}
	return nil
}

// Two proxies look after the keys every ten minutes, with clocks a minute apart,
// for some days: each key is known long before it seals, seals for a period, and is
// gone when it opens nothing any more.
func TestTicketKeysRotate(t *testing.T) {
	c := open(t, t.TempDir())
	if keys := ticketKeys(t, c); keys != nil {
		t.Error(keys)
	}
	fresh := long(counted())
	rotate := func(now time.Time) {
		t.Helper()
		update(t, c, func(tx *catalog.Tx) error { return command.RotateTicketKeys(tx, ticketPeriod, fresh, now) })
	}
	born := map[uint32]time.Time{} // by the first look that saw them
	used := map[uint32]bool{}
	for now := clock; now.Before(clock.Add(96 * time.Hour)); now = now.Add(10 * time.Minute) {
		rotate(now)
		rotate(now.Add(time.Minute))
		keys := ticketKeys(t, c)
		for _, k := range keys {
			if born[k.ID].IsZero() {
				born[k.ID] = now
			}
			if !now.Before(k.Until) || k.Until.Sub(k.From) != 3*ticketPeriod || len(k.Key) != 32 {
				t.Fatalf("at %v: %+v", now.Sub(clock), k)
			}
		}
		if len(keys) > 4 {
			t.Fatalf("%d keys", len(keys))
		}
		s := sealing(keys, now)
		if s == nil || now.Sub(s.From) > ticketPeriod {
			t.Fatalf("at %v: sealed by %+v", now.Sub(clock), s)
		}
		if s.ID > 1 && now.Sub(born[s.ID]) < ticketPeriod-20*time.Minute {
			t.Fatalf("key %d was made %v before it seals", s.ID, now.Sub(born[s.ID]))
		}
		used[s.ID] = true
	}
	if len(used) != 8 {
		t.Errorf("%d keys have sealed in 8 periods", len(used))
	}
}

// Whoever comes first rotates, the others find it done.
func TestTicketKeysRotateOnce(t *testing.T) {
	c := open(t, t.TempDir())
	fresh := long(counted())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := try(t, c, func(tx *catalog.Tx) error { return command.RotateTicketKeys(tx, ticketPeriod, fresh, clock) }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	keys := ticketKeys(t, c)
	if len(keys) != 2 || keys[0].ID != 2 || !keys[1].From.Equal(clock) || !keys[0].From.Equal(clock.Add(ticketPeriod)) {
		t.Errorf("%+v", keys)
	}
}

// After a long sleep, and after a clock that ran ahead, there is a key that seals.
func TestTicketKeysRecover(t *testing.T) {
	c := open(t, t.TempDir())
	fresh := long(counted())
	for _, now := range []time.Time{
		clock, clock.Add(13 * time.Hour), clock.Add(13*time.Hour + 13*time.Hour), clock.Add(30 * 24 * time.Hour), clock.Add(31 * 24 * time.Hour), clock.Add(31*24*time.Hour - 26*time.Hour),
	} {
		update(t, c, func(tx *catalog.Tx) error { return command.RotateTicketKeys(tx, ticketPeriod, fresh, now) })
		keys := ticketKeys(t, c)
		s := sealing(keys, now)
		if s == nil || !now.Before(s.Until) {
			t.Fatalf("at %v: %+v", now.Sub(clock), keys)
		}
		if lead := keys[0].From.Sub(now); lead < 10*time.Minute {
			t.Errorf("at %v: the next key seals in %v", now.Sub(clock), lead)
		}
	}
}

func TestTicketKeysReplaced(t *testing.T) {
	c := open(t, t.TempDir())
	fresh := long(counted())
	update(t, c, func(tx *catalog.Tx) error { return command.RotateTicketKeys(tx, ticketPeriod, fresh, clock) })
	now := clock.Add(time.Minute)
	update(t, c, func(tx *catalog.Tx) error { return command.ReplaceTicketKeys(tx, ticketPeriod, fresh, now) })
	keys := ticketKeys(t, c)
	if len(keys) != 2 || keys[0].ID != 4 || keys[1].ID != 3 || keys[1].Key[3] != 3 || sealing(keys, now).ID != 3 {
		t.Errorf("%+v", keys)
	}
	err := try(t, c, func(tx *catalog.Tx) error { return command.ReplaceTicketKeys(tx, ticketPeriod, counted(), now) })
	if err == nil {
		t.Error("a key of 4 bytes was taken")
	}
}
