package logs

import (
	"time"
)

// Overlap is for how long before a break lines are asked for once more: agents know when a line was written to about a second.
const Overlap = 3 * time.Second

// LastLines are the lines of one application server that were read last. After a break they tell which of those that come once more are
// known. The zero value knows none.
type LastLines struct {
	at    time.Time      // the latest of them
	lines []lastLine     // no older than Overlap
	broke time.Time      // at, at the last break; zero: there was none
	again map[string]int // of the lines before it, what may come once more
}

// lastLine is one line: when it was written, and all else that is known of it.
type lastLine struct {
	at   time.Time
	what string
}

// Break notes that lines may come once more from now on, and returns when the latest was written; zero: there was none.
func (l *LastLines) Break() time.Time {
	l.broke, l.again = l.at, map[string]int{}
	for _, line := range l.lines {
		l.again[line.what]++
	}
	return l.at
}

// Known reports whether a line came before the break, and else notes it. what is all that is known of it but its time.
func (l *LastLines) Known(at time.Time, what string) bool {
	switch {
	case at.After(l.broke):
	case at.Before(l.broke.Add(-Overlap)):
		return true // it was asked for because of another server
	case l.again[what] > 0:
		l.again[what]--
		return true
	}
	if at.After(l.at) {
		l.at = at
	}
	l.lines = append(l.lines, lastLine{at, what})
	old := 0
	for old < len(l.lines) && l.lines[old].at.Before(l.at.Add(-Overlap)) {
		old++
	}
	l.lines = l.lines[old:]
	return false
}
