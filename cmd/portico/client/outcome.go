package client

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"portico/cmd/portico/screen"
	"portico/deployhook"
	"portico/membership/catalog"
)

// DeployOutcome prints how a deploy ended, and returns an error if it failed.
func DeployOutcome(out io.Writer, d catalog.Deploy, took time.Duration, quiet bool) error {
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
				fmt.Fprintf(out, done, d.Site, screen.ShortDigest(d.Release), screen.Plural(healthy, "application server"), took.Seconds())
			}
			if d.Hint != "" {
				fmt.Fprintln(out, d.Hint)
			}
		}
		return nil
	}
	return &DeployError{d}
}

// DeployError is a deploy that did not succeed, told so that one can act on it.
type DeployError struct{ d catalog.Deploy }

// Error says what happened on the application servers that failed, once for all that failed
// alike: the last check and the end of the process's log.
func (e *DeployError) Error() string {
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
func (e *DeployError) Hint() string { return e.d.Hint }
