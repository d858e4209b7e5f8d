package accesslog

import (
	"io"
	"os"
	"time"
)

// Lines are collected in chunks. A chunk is written as soon as it is full, so that no write is long: one of a megabyte would
// hold the processor that a loop shares for a millisecond, and that millisecond would be in somebody's answer. A full chunk ends
// where a whole number of chunks of the file ends, be it within a line: the file system then takes it as one piece of memory, in
// two thirds of the time.
const (
	chunkSize   = 64 << 10
	chunkRoom   = chunkSize + 4<<10 // what goes beyond begins the next chunk
	spareChunks = 16                // empty chunks that are kept
	linger      = 50 * time.Millisecond
)

// chunks are the lines that wait for the writer.
type chunks struct {
	open    []byte   // being filled
	full    [][]byte // to be written, in order
	spare   [][]byte
	waiting int  // bytes in full
	at      int  // where open will stand in the file
	whole   bool // end full chunks with a line, because the file is about to change
	timed   bool // the writer knows that there is something in open
}

// room returns the open chunk.
func (c *chunks) room() []byte {
	if c.open == nil {
		if n := len(c.spare); n > 0 {
			c.open, c.spare = c.spare[n-1], c.spare[:n-1]
		} else {
			c.open = make([]byte, 0, chunkRoom)
		}
	}
	return c.open
}

// add takes the open chunk back with a line more, and reports whether the writer must be told: there is a full chunk, or the first
// line since it looked.
func (c *chunks) add(b []byte) bool {
	c.open = b
	if end := chunkSize - c.at%chunkSize; len(b) >= end {
		var rest []byte
		if !c.whole {
			c.open, rest = b[:end], b[end:]
		}
		c.close()
		c.open = append(c.room(), rest...)
		return true
	}
	tell := !c.timed
	c.timed = true
	return tell
}

func (c *chunks) close() {
	if len(c.open) > 0 {
		c.at += len(c.open)
		c.waiting += len(c.open)
		c.full = append(c.full, c.open)
		c.open = nil
	}
}

// next takes the chunk to write, nil when there is none.
func (c *chunks) next() []byte {
	if len(c.full) == 0 {
		return nil
	}
	b := c.full[0]
	n := copy(c.full, c.full[1:])
	c.full[n] = nil
	c.full = c.full[:n]
	c.waiting -= len(b)
	return b
}

// written takes an empty chunk back.
func (c *chunks) written(b []byte) {
	if len(c.spare) < spareChunks && cap(b) == chunkRoom {
		c.spare = append(c.spare, b[:0])
	}
}

// run writes what Append collects.
func (l *Log) run(w io.Writer, f *os.File) {
	defer close(l.done)
	defer func() {
		_ = l.write(w, true)
		if f != nil {
			_ = f.Close()
		}
	}()
	// A line waits at most this long.
	tick := time.NewTimer(time.Hour)
	defer tick.Stop()
	ticking := false
	for {
		select {
		case <-l.quit:
			return
		case <-l.wake:
			_ = l.write(w, false)
			if !ticking {
				ticking = true
				tick.Reset(linger)
			}
		case <-tick.C:
			ticking = false
			_ = l.write(w, true)
		case answer := <-l.reopen:
			if f == nil {
				answer <- l.write(w, true)
				continue
			}
			next, err := l.change(w)
			if err == nil {
				_ = f.Close()
				f, w = next, next
			}
			answer <- err
		}
	}
}

// change writes everything to the present file, with whole lines, and opens the next one.
func (l *Log) change(w io.Writer) (*os.File, error) {
	l.begin(0, true)
	_ = l.write(w, true)
	f, err := open(l.path)
	l.begin(sizeOf(f), false)
	return f, err
}

// begin says how long the file is that what waits goes to.
func (l *Log) begin(size int, whole bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.at, l.buf.whole = size+l.buf.waiting, whole
}

// sizeOf returns a file's size, 0 where it has none.
func sizeOf(f *os.File) int {
	if f == nil {
		return 0
	}
	i, err := f.Stat()
	if err != nil || !i.Mode().IsRegular() {
		return 0
	}
	return int(i.Size())
}

// write writes what is full, with all also what is not. It returns the last error, and counts the lines that were lost to errors.
func (l *Log) write(w io.Writer, all bool) (err error) {
	var b []byte
	for {
		l.mu.Lock()
		if b != nil {
			l.buf.written(b)
		}
		if all { // what is appended while this is written has time
			l.buf.close()
			l.buf.timed, all = false, false
		}
		b = l.buf.next()
		l.mu.Unlock()
		if b == nil {
			return err
		}
		if _, e := w.Write(b); e != nil {
			l.lost.Add(countLines(b))
			err = e
		}
	}
}

func countLines(b []byte) (n uint64) {
	for _, c := range b {
		if c == '\n' {
			n++
		}
	}
	return n
}
