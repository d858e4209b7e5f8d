package screen

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
	"portico/proxy/admin/apiclient"
)

// Progress shows a deploy: on a terminal a line for each application server and one for what moves
// to all of them, which change in place; in a pipe a plain line for each change of step, and at most once a
// minute one for what moves.
type Progress struct {
	out     io.Writer
	line    *StatusLine
	members []string
	text    map[string]string
	last    map[string]catalog.MemberProgress
	pace    Pace
	drawn   int
	absent  string // what is said of a proxy that is away; "" while it answers
}

// NewProgress makes one that nothing has happened to yet.
func NewProgress(out io.Writer) *Progress {
	return &Progress{out: out, line: NewStatusLine(out), text: map[string]string{}, last: map[string]catalog.MemberProgress{}}
}

// Event takes one event of the deploy.
func (p *Progress) Event(e messages.Event) error {
	if e.Member == "" || e.Progress == nil {
		return nil
	}
	if _, known := p.text[e.Member]; !known {
		p.members = append(p.members, e.Member)
		slices.Sort(p.members)
	}
	was, now := p.last[e.Member], *e.Progress
	if now.Total == 0 { // behind the transfer nobody tells its size any more
		now.Done, now.Total = was.Total, was.Total
	}
	p.last[e.Member] = now
	p.text[e.Member] = StepText(*e.Progress)
	total := p.total(e.At)
	switch {
	case p.line.Tty:
		p.draw(total)
	case was.Step != now.Step:
		fmt.Fprintf(p.out, "%s: %s\n", e.Member, p.text[e.Member])
	case total != "":
		p.line.Note(total, total, e.At)
	}
	return nil
}

// Away shows that the proxy does not answer, and that the deploy goes on; nil: it does again.
func (p *Progress) Away(a *apiclient.Away, meanwhile string) {
	if !p.line.Tty {
		p.line.away(a, meanwhile)
		return
	}
	p.absent = ""
	if a != nil {
		p.absent = awayText(a, meanwhile)
	}
	p.draw("")
}

// total says what moves to all application servers together, nothing when no more does.
func (p *Progress) total(at time.Time) string {
	var done, total int64
	for _, m := range p.last {
		done, total = done+m.Done, total+m.Total
	}
	if total == 0 || done == total {
		return ""
	}
	p.pace.Take(done, at)
	return fmt.Sprintf("%s of %s%s", Size(done), Size(total), p.pace.Text(total))
}

// StepText is how far a deploy is on an application server.
func StepText(m catalog.MemberProgress) string {
	switch {
	case m.Step == catalog.StepFetching && m.Total > 0:
		return fmt.Sprintf("%s %s of %s", m.Step, Size(m.Done), Size(m.Total))
	case m.Detail != "" && m.Step == catalog.StepWaiting: // why one has failed comes at the end, once
		first, _, _ := strings.Cut(m.Detail, "\n")
		return fmt.Sprintf("%s: %s", m.Step, first)
	}
	return string(m.Step)
}

func (p *Progress) draw(total string) {
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	name := 0
	for _, m := range p.members {
		name = max(name, len(m))
	}
	lines, width := 0, p.line.width()
	line := func(text string) {
		fmt.Fprintf(&b, "\r\x1b[K%s\n", cutLine(text, width))
		lines++
	}
	for _, m := range p.members {
		line(fmt.Sprintf("  %-*s  %s", name, m, p.text[m]))
	}
	if total != "" {
		line("  " + total)
	}
	if p.absent != "" {
		line("  " + p.absent)
	}
	b.WriteString("\x1b[J") // the line of what moved, when nothing does any more
	p.drawn = lines
	_, _ = io.WriteString(p.out, b.String())
}

// Done leaves what was drawn as it is.
func (p *Progress) Done() { p.drawn = 0 }
