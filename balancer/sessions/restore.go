package sessions

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Restore reads what Save wrote into the table, for the owners that find knows, and returns how
// many sessions it took, and since when the saved table knew each owner. It takes none of
// what is damaged: a wrong place or time in an entry would lead a visitor away from the
// session that the cookie names.
func (s *Table[U]) Restore(r io.ReadSeeker, find func(pool, id string) U) (n int, since map[U]int64, err error) {
	if err := checkSum(r); err != nil {
		return 0, nil, err
	}
	n, h, err := readSessions(r, find, s.adopt)
	if err != nil {
		return n, nil, err
	}
	s.born.Store(int64(h.born)) // what that table knew, this one knows
	since = make(map[U]int64, len(h.slots))
	for i, u := range h.slots {
		since[u] = h.since[i]
	}
	return n, since, nil
}

// head is what a saved table begins with.
type head[U Owner] struct {
	born  uint64
	slots []U     // those that are unknown here are nil
	since []int64 // since when they were known
}

// readSessions reads a saved table and gives each session of an upstream that is known
// to take, which reports whether it was new. It returns how many were, and the table's head.
func readSessions[U Owner](r io.Reader, find func(pool, id string) U, take func(entry, U) bool) (n int, h head[U], err error) {
	in := bufio.NewReaderSize(r, 1<<16)
	if h, err = readHead(in, find); err != nil {
		return 0, h, err
	}
	var raw [24]byte
	for {
		if _, err := io.ReadFull(in, raw[:]); err != nil {
			return n, h, fmt.Errorf("entry %d: %w", n, err)
		}
		e := entry{id: binary.LittleEndian.Uint64(raw[:])}
		for i, v := range [...]*uint32{&e.last, &e.start, &e.issued, &e.where} {
			*v = binary.LittleEndian.Uint32(raw[8+4*i:])
		}
		if e.id == 0 {
			return n, h, nil
		}
		if int(e.slot()) >= len(h.slots) {
			return n, h, fmt.Errorf("entry %d names upstream %d of %d", n, e.slot(), len(h.slots))
		}
		if u := h.slots[e.slot()]; !absent(u) && take(e, u) {
			n++
		}
	}
}

// checkSum reads a saved table once to compare its checksum, and goes back to its beginning.
func checkSum(r io.ReadSeeker) error {
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	magic := make([]byte, len(saveMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != saveMagic {
		return errors.New("this is no table of sessions, or one of another version")
	}
	sum := crc32.NewIEEE()
	_, _ = sum.Write(magic) // a hash takes everything
	var want [4]byte
	if _, err := io.CopyN(sum, r, size-int64(len(magic)+len(want))); err != nil {
		return err
	}
	if _, err := io.ReadFull(r, want[:]); err != nil || binary.LittleEndian.Uint32(want[:]) != sum.Sum32() {
		return errors.New("the table is damaged: its checksum is wrong")
	}
	_, err = r.Seek(int64(len(magic)), io.SeekStart)
	return err
}

// readHead reads when the table was born, and the list of owners.
func readHead[U Owner](in *bufio.Reader, find func(pool, id string) U) (h head[U], err error) {
	if h.born, err = binary.ReadUvarint(in); err != nil {
		return h, fmt.Errorf("read the table's birth: %w", err)
	}
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return h, fmt.Errorf("read the number of upstreams: %w", err)
	}
	for range n {
		pool, err := readText(in)
		if err != nil {
			return h, err
		}
		id, err := readText(in)
		if err != nil {
			return h, err
		}
		since, err := binary.ReadUvarint(in)
		if err != nil {
			return h, fmt.Errorf("read the time of an upstream: %w", err)
		}
		h.slots, h.since = append(h.slots, find(pool, id)), append(h.since, int64(since))
	}
	return h, nil
}

func readText(in *bufio.Reader) (string, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return "", fmt.Errorf("read a name: %w", err)
	}
	if n > 4096 {
		return "", fmt.Errorf("read a name: %d bytes are too many", n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(in, text); err != nil {
		return "", fmt.Errorf("read a name: %w", err)
	}
	return string(text), nil
}

// adopt takes a restored entry, unless the session is there by now.
func (s *Table[U]) adopt(e entry, u U) bool {
	h := Mix(e.id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.find(e.id, h) >= 0 {
		return false
	}
	s.makeRoom(sh)
	e.where = e.where&^slotMask | u.Seats().slot
	if e.where&MarkUntold != 0 { // by a request that this process does not see the end of
		e.where |= markFormer
	}
	sh.put(e)
	if e.counted() {
		u.Seats().live.Add(1)
		if e.where&markLight != 0 {
			u.Seats().light.Add(1)
		}
	}
	return true
}
