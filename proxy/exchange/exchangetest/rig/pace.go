package rig

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// A body, and the pieces after which a slow side pauses.
const (
	SlowSize   = 6 << 20
	slowPieces = 130
)

// Pace is how slow the slow sides are: a whole message takes more than twice the time after which a side that does nothing is given up, and
// the few pieces that move at a time next to none.
type Pace struct {
	pause time.Duration // after each piece
	Limit time.Duration // of the proxy's patience
	Late  atomic.Bool   // a few pieces took half of it: what else runs on the machine may have taken the other half
}

const fewPieces = 8

// NewPace makes one with pauses of that length, everything slower times as slow.
func NewPace(pause, slower time.Duration) *Pace {
	return &Pace{pause: slower * pause, Limit: slower * 3 * time.Second}
}

// Slow is one side's way with a body: in pieces, with pauses, or at once.
type Slow struct {
	*Pace
	Pauses bool
	since  time.Time // the beginning of a few pieces
	count  int       // of them until now
}

// Piece pauses behind a piece.
func (s *Slow) Piece() {
	s.Look()
	if s.count++; s.count > fewPieces || s.since.IsZero() {
		s.since, s.count = time.Now(), 0
	}
	if s.Pauses {
		time.Sleep(s.pause) // what the test is about
	}
}

// Look notes when the machine is too slow for the pace.
func (s *Slow) Look() {
	if !s.since.IsZero() && time.Since(s.since) > s.Limit/2 {
		s.Late.Store(true)
	}
}

// Send writes a body of SlowSize bytes, in one chunk for each piece, or as they are.
func (s *Slow) Send(w io.Writer, chunked bool) error {
	defer s.Look()
	piece := bytes.Repeat([]byte("x"), SlowSize/slowPieces)
	for left := SlowSize; left > 0; left -= len(piece) {
		piece = piece[:min(left, len(piece))]
		if chunked {
			if _, err := fmt.Fprintf(w, "%x\r\n%s\r\n", len(piece), piece); err != nil {
				return err
			}
		} else if _, err := w.Write(piece); err != nil {
			return err
		}
		s.Piece()
	}
	if chunked {
		_, err := io.WriteString(w, "0\r\n\r\n")
		return err
	}
	return nil
}

// Take reads what Send sends, and counts the bytes of the body.
func (s *Slow) Take(br *bufio.Reader, chunked bool) (n int) {
	defer s.Look()
	piece := make([]byte, SlowSize/slowPieces)
	left, since := SlowSize, 0
	for first := true; ; first = false {
		if chunked && (first || left == 0) {
			if !first {
				_, _ = br.Discard(2)
			}
			if _, err := fmt.Fscanf(br, "%x\r\n", &left); err != nil {
				return n
			}
		}
		if left == 0 {
			return n
		}
		m, err := io.ReadFull(br, piece[:min(left, len(piece)-since)])
		n, left, since = n+m, left-m, since+m
		if err != nil {
			return n
		}
		if since == len(piece) {
			s.Piece()
			since = 0
		}
	}
}

// SlowFraming is the last of a head whose body Send writes.
func SlowFraming(chunked bool) string {
	if chunked {
		return "Transfer-Encoding: chunked\r\n\r\n"
	}
	return fmt.Sprintf("Content-Length: %d\r\n\r\n", SlowSize)
}
