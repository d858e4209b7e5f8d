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
)

// progress shows a deploy: on a terminal a line for each application server
// that changes in place, in a pipe a plain line for each change.
type progress struct {
	out     io.Writer
	tty     bool
	members []string
	text    map[string]string
	step    map[string]catalog.Step
	drawn   int
}

func newProgress(out io.Writer) *progress {
	return &progress{out: out, tty: isTerminal(out), text: map[string]string{}, step: map[string]catalog.Step{}}
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
	changed := p.step[e.Member] != e.Progress.Step
	p.step[e.Member] = e.Progress.Step
	p.text[e.Member] = stepText(*e.Progress)
	if p.tty {
		p.draw()
	} else if changed {
		fmt.Fprintf(p.out, "%s: %s\n", e.Member, p.text[e.Member])
	}
	return nil
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

func (p *progress) draw() {
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	width := 0
	for _, m := range p.members {
		width = max(width, len(m))
	}
	for _, m := range p.members {
		fmt.Fprintf(&b, "\r\x1b[K  %-*s  %s\n", width, m, p.text[m])
	}
	p.drawn = len(p.members)
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
		if m.Probe != nil && (m.Probe.Body != "" || !strings.Contains(m.Detail, "the last check")) {
			fmt.Fprintf(&b, "\n  last check: %s", probeText(*m.Probe))
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

func probeText(p catalog.Probe) string {
	text := p.Code
	if p.Status != 0 {
		text = fmt.Sprintf("%s, status %d", text, p.Status)
	}
	text = fmt.Sprintf("%s after %v", text, p.Latency.Std().Round(time.Millisecond))
	if p.Error != "" {
		text += ": " + p.Error
	}
	if p.Body != "" {
		text += fmt.Sprintf("\n  answer: %.256s", p.Body)
	}
	return text
}
