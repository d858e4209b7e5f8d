package command

import (
	"encoding/json"
	"fmt"
	"time"

	"portico/membership/catalog"
)

// SecretTickets names the keys of TLS session tickets among the secrets: a JSON
// list of TicketKey, newest first.
const SecretTickets = "tickets"

const (
	// ticketPeriods is for how many periods a key opens tickets, the one in which
	// it seals them included.
	ticketPeriods = 3

	// ticketLead is the least time between a key's making and its first use: every
	// proxy that has the catalog knows it by then.
	ticketLead = 10 * time.Minute
)

// TicketKey seals the TLS session tickets of visitors from one moment on, and
// opens them until another. A key is made long before it is first used, so that no
// proxy gets a ticket that it cannot open.
type TicketKey struct {
	ID      uint32    `json:"id"` // grows by one; never in a ticket
	Key     []byte    `json:"key"`
	Created time.Time `json:"created"`
	From    time.Time `json:"from"`  // it seals from here on, until the next one does
	Until   time.Time `json:"until"` // it opens nothing from here on
}

// TicketKeys returns the keys of TLS session tickets, newest first; none before
// the first RotateTicketKeys. The newest has often not begun to seal.
func TicketKeys(in Secrets) ([]TicketKey, error) {
	return sharedKeys[TicketKey](in.Secret(SecretTickets))
}

// RotateTicketKeys brings the ticket keys up to date: it drops those that open
// nothing any more and, once the newest has begun to seal, adds its successor with
// 32 bytes from fresh, which seals a period later. Where no key is left it makes
// the first, which seals at once, and its successor. When nothing is due it
// changes nothing, so every proxy may call it as often as it likes.
func RotateTicketKeys(tx *catalog.Tx, period time.Duration, fresh func() []byte, now time.Time) error {
	old, err := TicketKeys(tx)
	if err != nil {
		return err
	}
	keys, err := nextTicketKeys(old, period, fresh, now.UTC())
	if err != nil || sameTicketKeys(old, keys) {
		return err
	}
	return putTickets(tx, keys)
}

// ReplaceTicketKeys makes all ticket keys anew: no ticket that was handed out
// before opens any more, and every visitor shakes hands in full once.
func ReplaceTicketKeys(tx *catalog.Tx, period time.Duration, fresh func() []byte, now time.Time) error {
	old, err := TicketKeys(tx)
	if err != nil {
		return err
	}
	keys, err := nextTicketKeys(nil, period, fresh, now.UTC())
	if err != nil {
		return err
	}
	if len(old) > 0 {
		for i := range keys {
			keys[i].ID += old[0].ID
		}
	}
	return putTickets(tx, keys)
}

// nextTicketKeys is what the keys should be now.
func nextTicketKeys(keys []TicketKey, period time.Duration, fresh func() []byte, now time.Time) ([]TicketKey, error) {
	var out []TicketKey
	id, begun := uint32(0), false
	for _, k := range keys {
		id = max(id, k.ID)
		if now.Before(k.Until) {
			out = append(out, k)
			begun = begun || !now.Before(k.From)
		}
	}
	if !begun {
		out = nil // none is left, or a clock that ran ahead made them
	}
	for len(out) == 0 || !now.Before(out[0].From) {
		from := now
		if len(out) > 0 {
			if from = out[0].From.Add(period); from.Before(now.Add(ticketLead)) {
				from = now.Add(ticketLead) // no proxy looked after the keys for a while
			}
		}
		key := fresh()
		if len(key) != keyLength {
			return nil, fmt.Errorf("%w: a ticket key has %d bytes, not %d", catalog.ErrInvalid, keyLength, len(key))
		}
		id++
		next := TicketKey{ID: id, Key: key, Created: now, From: from, Until: from.Add(ticketPeriods * period)}
		out = append([]TicketKey{next}, out...)
	}
	return out, nil
}

func sameTicketKeys(a, b []TicketKey) bool {
	return len(a) == len(b) && len(a) > 0 && a[0].ID == b[0].ID
}

func putTickets(tx *catalog.Tx, keys []TicketKey) error {
	data, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return tx.PutSecret(SecretTickets, data)
}
