package sessions

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// saveMagic opens the file of a session table; a change of the format changes it.
const saveMagic = "portico sessions 3\n"

// Save writes the table, so that a process which takes over does not have
// to count anew. The order is: magic, birth, number of upstreams, for each the pool's
// name, the instance id and since when it is known, entries of 24 bytes, a zero entry,
// CRC-32.
func (s *Table[U]) Save(w io.Writer) error {
	sum := crc32.NewIEEE()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	buf := append(make([]byte, 0, 256), saveMagic...)
	slots := *s.slots.Load()
	buf = binary.AppendUvarint(buf, uint64(max(s.born.Load(), 0)))
	buf = binary.AppendUvarint(buf, uint64(len(slots)))
	for _, u := range slots {
		pool, id, started := "", "", int64(0)
		if !absent(u) {
			pool, id, started = u.Pool(), u.ID(), u.KnownSince()
		}
		buf = binary.AppendUvarint(appendText(appendText(buf, pool), id), uint64(max(started, 0)))
	}
	if _, err := out.Write(buf); err != nil {
		return err
	}
	var failed error
	s.each(func(e *entry, u U) {
		if !absent(u) && int(e.slot()) < len(slots) && slots[e.slot()] == u && failed == nil {
			buf = e.append(buf[:0])
			_, failed = out.Write(buf)
		}
	})
	if failed == nil {
		_, failed = out.Write((&entry{}).append(buf[:0]))
	}
	if err := errors.Join(failed, out.Flush()); err != nil {
		return err
	}
	_, err := w.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32()))
	return err
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
