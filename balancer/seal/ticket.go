package seal

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// A ticket is 33 bytes in base64url: key id (1), arrival in Unix milliseconds (8), id
// (2 of a count within the millisecond, 6 random), AES-CMAC (16) of arrival, id, key
// id and zero bytes.
const (
	ticketLen = 33

	// TicketLen is the length of a ticket as text.
	TicketLen = ticketLen / 3 * 4

	ticketLife = 6 * time.Hour // an older ticket counts for nothing
)

// Ticket is a visitor's place in a waiting room: his time of arrival.
type Ticket struct {
	Arrived int64 // Unix milliseconds
	ID      uint64
}

// Compare compares two places: who came first is less.
func (t Ticket) Compare(o Ticket) int {
	return cmp.Or(cmp.Compare(t.Arrived, o.Arrived), cmp.Compare(t.ID, o.ID))
}

func (k *siteKey) ticketSum(v Ticket) mac {
	return k.ticket.sum(uint64(v.Arrived), v.ID, uint64(k.id)<<56, 0)
}

// SealTicket appends a ticket to dst.
func (s *Sealer) SealTicket(dst []byte, v Ticket) []byte {
	k := &s.keys[0]
	var space [ticketLen]byte
	raw := binary.BigEndian.AppendUint64(append(space[:0], k.id), uint64(v.Arrived))
	raw = binary.BigEndian.AppendUint64(raw, v.ID)
	return base64.RawURLEncoding.AppendEncode(dst, k.ticketSum(v).append(raw))
}

// OpenTicket reads a ticket and reports whether it is good.
func (s *Sealer) OpenTicket(text []byte, now int64) (Ticket, bool) {
	var raw [ticketLen]byte
	if len(text) != TicketLen {
		return Ticket{}, false
	}
	if n, err := base64.RawURLEncoding.Decode(raw[:], text); err != nil || n != ticketLen {
		return Ticket{}, false
	}
	be := binary.BigEndian
	v := Ticket{Arrived: int64(be.Uint64(raw[1:])), ID: be.Uint64(raw[9:])}
	for i := range s.n {
		k := &s.keys[i]
		if k.id != raw[0] {
			continue
		}
		return v, k.ticketSum(v).same(mac{be.Uint64(raw[17:]), be.Uint64(raw[25:])}) &&
			now-v.Arrived <= ticketLife.Milliseconds() && v.Arrived-now <= ClockSkew*1000
	}
	return Ticket{}, false
}
