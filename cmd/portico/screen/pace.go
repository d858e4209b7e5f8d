package screen

import (
	"fmt"
	"time"
)

// Pace tells how fast bytes move and when they will have: from what moved in the last while, so
// that a line that has become slow shows at once.
type Pace struct {
	seen []paced // the oldest first, within paceWindow
}

type paced struct {
	at   time.Time
	done int64
}

// paceWindow is long enough to even out single packets.
const paceWindow = 10 * time.Second

// Take notes how many bytes have moved so far.
func (p *Pace) Take(done int64, at time.Time) {
	if n := len(p.seen); n > 0 && done < p.seen[n-1].done {
		p.seen = p.seen[:0] // it began anew
	}
	p.seen = append(p.seen, paced{at, done})
	for len(p.seen) > 2 && at.Sub(p.seen[1].at) >= paceWindow {
		p.seen = p.seen[1:]
	}
}

// Text says the rate, and of a known total the time that is left; nothing while that is not known.
func (p *Pace) Text(total int64) string {
	if len(p.seen) < 2 {
		return ""
	}
	first, last := p.seen[0], p.seen[len(p.seen)-1]
	took := last.at.Sub(first.at)
	if took < time.Second || last.done <= first.done {
		return ""
	}
	rate := float64(last.done-first.done) / took.Seconds()
	text := fmt.Sprintf(", %s/s", Size(int64(rate)))
	if left := total - last.done; total > 0 && left > 0 {
		text += fmt.Sprintf(", %s left", Span(time.Duration(float64(left)/rate*float64(time.Second))+time.Second))
	}
	return text
}
