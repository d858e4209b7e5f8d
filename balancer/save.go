package balancer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// saveMagic opens the file of a session table; a change of the format changes it.
const saveMagic = "portico sessions 3\n"

// SaveSessions writes the table, so that a process which takes over does not have
// to count anew. The order is: magic, birth, number of upstreams, for each the pool's
// name, the instance id and since when it is known, entries of 24 bytes, a zero entry,
// CRC-32.
func (b *Balancer) SaveSessions(w io.Writer) error {
	sum := crc32.NewIEEE()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	buf := append(make([]byte, 0, 256), saveMagic...)
	slots := *b.sessions.slots.Load()
	buf = binary.AppendUvarint(buf, uint64(max(b.sessions.born.Load(), 0)))
	buf = binary.AppendUvarint(buf, uint64(len(slots)))
	for _, u := range slots {
		pool, id, started := "", "", int64(0)
		if u != nil {
			pool, id, started = u.pool.name, u.id, u.started()
		}
		buf = binary.AppendUvarint(appendText(appendText(buf, pool), id), uint64(max(started, 0)))
	}
	if _, err := out.Write(buf); err != nil {
		return fmt.Errorf("save sessions: %w", err)
	}
	var failed error
	b.sessions.each(func(e *entry, u *Upstream) {
		if u != nil && int(e.slot()) < len(slots) && slots[e.slot()] == u && failed == nil {
			buf = e.append(buf[:0])
			_, failed = out.Write(buf)
		}
	})
	if failed == nil {
		_, failed = out.Write((&entry{}).append(buf[:0]))
	}
	if err := errors.Join(failed, out.Flush()); err != nil {
		return fmt.Errorf("save sessions: %w", err)
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32())); err != nil {
		return fmt.Errorf("save sessions: %w", err)
	}
	return nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func (e *entry) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, e.id)
	for _, v := range [...]uint32{e.last, e.start, e.issued, e.where} {
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	return dst
}

// RestoreSessions reads what SaveSessions wrote into the table, for the pools and
// upstreams that exist by now, and returns how many sessions it took. It takes none of
// what is damaged: a wrong place or time in an entry would lead a visitor away from the
// session that the cookie names.
func (b *Balancer) RestoreSessions(r io.ReadSeeker, now int64) (n int, err error) {
	if err := checkSum(r); err != nil {
		return 0, fmt.Errorf("restore sessions: %w", err)
	}
	n, born, slots, starts, err := b.readSessions(r, b.sessions.adopt)
	if err != nil {
		return n, fmt.Errorf("restore sessions: %w", err)
	}
	b.sessions.born.Store(int64(born)) // what that table knew, this one knows
	b.trust(slots, starts, now)
	b.sessions.SweepAll(now)
	return n, nil
}

// readSessions reads a saved table and gives each session of an upstream that is known
// to take, which reports whether it was new. It returns how many were, and the table's head.
func (b *Balancer) readSessions(r io.Reader, take func(entry, *Upstream) bool) (n int, born uint64, slots []*Upstream, starts []int64, err error) {
	in := bufio.NewReaderSize(r, 1<<16)
	born, slots, starts, err = b.readHead(in)
	if err != nil {
		return 0, 0, nil, nil, err
	}
	var raw [24]byte
	for {
		if _, err := io.ReadFull(in, raw[:]); err != nil {
			return n, born, slots, starts, fmt.Errorf("entry %d: %w", n, err)
		}
		e := entry{id: binary.LittleEndian.Uint64(raw[:])}
		for i, v := range [...]*uint32{&e.last, &e.start, &e.issued, &e.where} {
			*v = binary.LittleEndian.Uint32(raw[8+4*i:])
		}
		if e.id == 0 {
			return n, born, slots, starts, nil
		}
		if int(e.slot()) >= len(slots) {
			return n, born, slots, starts, fmt.Errorf("entry %d names upstream %d of %d", n, e.slot(), len(slots))
		}
		if u := slots[e.slot()]; u != nil && take(e, u) {
			n++
		}
	}
}

// trust takes over since when the table that was restored knew each upstream. It knew
// all sessions of those that it does not name: they came after it was saved.
func (b *Balancer) trust(slots []*Upstream, starts []int64, now int64) {
	saved := make(map[*Upstream]int64, len(slots))
	for i, u := range slots {
		saved[u] = starts[i]
	}
	for _, u := range *b.sessions.slots.Load() {
		if u == nil {
			continue
		}
		if started, ok := saved[u]; ok {
			u.seen.Store(started)
		} else {
			u.seen.Store(now)
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

// readHead reads when the table was born, and the list of upstreams, in which those
// that are unknown here are nil, with the times since when they were known.
func (b *Balancer) readHead(in *bufio.Reader) (born uint64, slots []*Upstream, starts []int64, err error) {
	if born, err = binary.ReadUvarint(in); err != nil {
		return 0, nil, nil, fmt.Errorf("read the table's birth: %w", err)
	}
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("read the number of upstreams: %w", err)
	}
	for range n {
		pool, err := readText(in)
		if err != nil {
			return 0, nil, nil, err
		}
		id, err := readText(in)
		if err != nil {
			return 0, nil, nil, err
		}
		started, err := binary.ReadUvarint(in)
		if err != nil {
			return 0, nil, nil, fmt.Errorf("read the time of an upstream: %w", err)
		}
		var u *Upstream
		if p := b.Pool(pool); p != nil {
			u = p.Upstream(id)
		}
		slots, starts = append(slots, u), append(starts, int64(started))
	}
	return born, slots, starts, nil
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
func (s *Sessions) adopt(e entry, u *Upstream) bool {
	h := mix(e.id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.find(e.id, h) >= 0 {
		return false
	}
	s.makeRoom(sh)
	e.where = e.where&^slotMask | u.slot
	if e.where&markUntold != 0 { // by a request that this process does not see the end of
		e.where |= markFormer
	}
	sh.put(e)
	if e.counted() {
		u.sessions.Add(1)
		if e.where&markLight != 0 {
			u.light.Add(1)
		}
	}
	return true
}

// MergeSessions reads what SaveSessions wrote into a table that is in use: sessions that
// are not in it are taken, of the others the later use and the newer cookie count. It returns how
// many were taken. It is for what a process leaves that served beside this one for a while; what
// that knew before, RestoreSessions has read.
func (b *Balancer) MergeSessions(r io.ReadSeeker, now int64) (n int, err error) {
	if err := checkSum(r); err != nil {
		return 0, fmt.Errorf("merge sessions: %w", err)
	}
	n, _, _, _, err = b.readSessions(r, b.sessions.merge)
	if err != nil {
		return n, fmt.Errorf("merge sessions: %w", err)
	}
	b.sessions.SweepAll(now)
	return n, nil
}

// merge takes an entry of another table that was in use beside this one.
func (s *Sessions) merge(e entry, u *Upstream) bool {
	if s.adopt(e, u) {
		return true
	}
	h := mix(e.id)
	sh := s.shard(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.find(e.id, h)
	if i < 0 {
		return false
	}
	x := &sh.e[i]
	x.last = max(x.last, e.last)
	if x.alias() || e.alias() || x.where&markEnded != 0 {
		return false
	}
	x.where |= e.where & (markReturned | markKept)
	if e.where&markReturned != 0 {
		x.weigh((*s.slots.Load())[x.slot()])
	}
	s.mergeMove(x, &e, u)
	return false
}

// mergeMove takes over where the process before has the session, and what became of the news of its move there.
func (s *Sessions) mergeMove(x, e *entry, u *Upstream) {
	own := x.where&(markUntold|markFormer) == markUntold // the move is told of here
	passed := x.where&markOwed != 0                      // others went to the new place here, while the news was on its way there
	if e.issued > x.issued {
		x.issued = e.issued
		if x.slot() != u.slot {
			s.relocate(x, u)
		}
		if !own {
			x.where = x.where&^newsMarks | e.where&newsMarks
			if e.where&markUntold != 0 {
				x.where |= markFormer
			}
		}
		return
	}
	if own || e.where&markUntold != 0 {
		return
	}
	switch former := x.where&markFormer != 0; {
	case former && e.issued < x.issued && u.slot != x.slot() && !passed: // given up: the session is where it was
		x.issued = e.issued
		x.where &^= newsMarks
		s.relocate(x, u)
	case former && (e.where&markOwed != 0 || e.issued < x.issued && u.slot != x.slot()):
		x.oweNews()
	case e.issued == x.issued && e.where&markOwed == 0, former:
		x.where &^= newsMarks // it has been told
	}
}

// newsMarks are those that say whether the news of a move was told.
const newsMarks = markUntold | markFormer | markOwed

// oweNews has the next request tell of a move whose request, in the process before, was not answered. The cookies of those that
// passed it say so too: to be known from theirs, what the next one answers to is younger.
func (e *entry) oweNews() {
	if e.where&markOwed != 0 {
		e.issued++
	}
	e.where = e.where&^newsMarks | markOwed
}

// SettleFormer says that the process before this one has ended, or that there was none: of news that it was to bring, and has not told
// the outcome of, nobody knows whether they were brought. They are owed.
func (b *Balancer) SettleFormer() {
	for i := range b.sessions.shards {
		sh := &b.sessions.shards[i]
		sh.mu.Lock()
		for j := range sh.e {
			if e := &sh.e[j]; e.id != 0 && e.where&markFormer != 0 {
				e.oweNews()
			}
		}
		sh.mu.Unlock()
	}
}
