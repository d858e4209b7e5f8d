package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"portico/deployhook"
	"portico/membership/catalog"
	"portico/proxy/admin"
)

// progress shows a deploy: on a terminal a line for each application server and one for what moves
// to all of them, which change in place; in a pipe a plain line for each change of step, and at most once a
// minute one for what moves.
type progress struct {
	out     io.Writer
	line    *statusLine
	members []string
	text    map[string]string
	last    map[string]catalog.MemberProgress
	pace    pace
	drawn   int
	absent  string // what is said of a proxy that is away; "" while it answers
}

func newProgress(out io.Writer) *progress {
	return &progress{out: out, line: newStatusLine(out), text: map[string]string{}, last: map[string]catalog.MemberProgress{}}
}

// event takes one event of the deploy.
func (p *progress) event(e catalog.Event) error {
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
	p.text[e.Member] = stepText(*e.Progress)
	total := p.total(e.At)
	switch {
	case p.line.tty:
		p.draw(total)
	case was.Step != now.Step:
		fmt.Fprintf(p.out, "%s: %s\n", e.Member, p.text[e.Member])
	case total != "":
		p.line.note(total, total, e.At)
	}
	return nil
}

// away shows that the proxy does not answer, and that the deploy goes on; nil: it does again.
func (p *progress) away(a *admin.Away, meanwhile string) {
	if !p.line.tty {
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
func (p *progress) total(at time.Time) string {
	var done, total int64
	for _, m := range p.last {
		done, total = done+m.Done, total+m.Total
	}
	if total == 0 || done == total {
		return ""
	}
	p.pace.take(done, at)
	return fmt.Sprintf("%s of %s%s", size(done), size(total), p.pace.text(total))
}

func stepText(m catalog.MemberProgress) string {
	switch {
	case m.Step == catalog.StepFetching && m.Total > 0:
		return fmt.Sprintf("%s %s of %s", m.Step, size(m.Done), size(m.Total))
	case m.Detail != "" && m.Step == catalog.StepWaiting: // why one has failed comes at the end, once
		first, _, _ := strings.Cut(m.Detail, "\n")
		return fmt.Sprintf("%s: %s", m.Step, first)
	}
	return string(m.Step)
}

func (p *progress) draw(total string) {
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

func (p *progress) done() { p.drawn = 0 }

// deployOutcome prints how a deploy ended, and returns an error if it failed.
func deployOutcome(out io.Writer, d catalog.Deploy, took time.Duration, quiet bool) error {
	if d.State == catalog.DeploySucceeded {
		if !quiet {
			healthy := 0
			for _, m := range d.Members {
				if m.Step == catalog.StepInRotation || m.Step == catalog.StepHealthy {
					healthy++
				}
			}
			done := "deployed %s %s to %s in %.1fs\n"
			switch {
			case len(d.Members) == 0 && d.Release == d.Previous:
				done = "" // its hint says that nothing was to be done
			case d.Settings:
				done = "%s %s runs with these settings on %s after %.1fs\n"
			case d.Rollback:
				done = "rolled %s back to %s on %s in %.1fs\n"
			}
			if done != "" {
				fmt.Fprintf(out, done, d.Site, shortDigest(d.Release), plural(healthy, "application server"), took.Seconds())
			}
			if d.Hint != "" {
				fmt.Fprintln(out, d.Hint)
			}
		}
		return nil
	}
	return &deployError{d}
}

// deployError is a deploy that did not succeed, told so that one can act on it.
type deployError struct{ d catalog.Deploy }

// Error says what happened on the application servers that failed, once for all that failed
// alike: the last check and the end of the process's log.
func (e *deployError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "deploy of %s %s", e.d.Site, e.d.State)
	groups := deployhook.Failures(e.d.Members)
	if len(groups) == 0 {
		return b.String() + ": " + e.d.Error
	}
	for _, g := range groups {
		m := g.Progress
		fmt.Fprintf(&b, "\n\n%s: %s", g.Who(), m.Detail)
		if check := deployhook.LastCheck(m); check != "" {
			fmt.Fprintf(&b, "\n  last check: %s", check)
		}
		if m.Probe != nil && m.Probe.Body != "" {
			fmt.Fprintf(&b, "\n  answer: %.256s", m.Probe.Body)
		}
		if len(m.Log) > 0 {
			fmt.Fprintf(&b, "\n  log of %s:\n    %s", g.Members[0], strings.Join(m.Log, "\n    "))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.d.Members)) {
		if m := e.d.Members[name]; m.Step == catalog.StepStopped && hadOwnTrouble(m, groups) {
			fmt.Fprintf(&b, "\n\n%s: %s", name, m.Detail)
		}
	}
	return b.String()
}

// hadOwnTrouble reports whether a member that had to stop was failing by then, and in another way
// than those that failed.
func hadOwnTrouble(m catalog.MemberProgress, failed []deployhook.FailureGroup) bool {
	return m.Probe != nil && !m.Probe.OK && !slices.ContainsFunc(failed, func(g deployhook.FailureGroup) bool {
		p := g.Progress.Probe
		return p != nil && p.Code == m.Probe.Code && p.Status == m.Probe.Status
	})
}

// Hint says what is still as it was.
func (e *deployError) Hint() string { return e.d.Hint }
