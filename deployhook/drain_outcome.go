package deployhook

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// emptied words the outcome of a drain that has nothing left: its sessions have ended or
// moved, or their instance has failed.
func emptied(x *Drain, p catalog.DrainProgress, now time.Time) (string, catalog.DrainOutcome) {
	took := now.Sub(x.Since).Round(time.Second)
	text, outcome := fmt.Sprintf("empty after %v", took), catalog.DrainOutcome{How: catalog.DrainEmpty}
	if p.Lost > 0 {
		text, outcome = fmt.Sprintf("%s; nothing is left after %v", lostText(p), took), catalog.DrainOutcome{How: p.Cause, Lost: p.Lost}
	}
	if p.Moved > 0 || x.Move > 0 {
		text += fmt.Sprintf("; %d sessions were marked to move", p.Moved)
	}
	return text, outcome
}

// cutOff words the outcome of a drain whose time was over. While the proxy counts anew
// there may be more than it knows.
func cutOff(sessions int, known bool, p catalog.DrainProgress) (string, catalog.DrainOutcome) {
	least := ""
	if !known {
		least = "at least "
	}
	text := fmt.Sprintf("at its deadline, with %s%s left: they lose their instance", least, count(sessions))
	if p.Lost > 0 {
		text += "; before, " + lostText(p)
	}
	return text, catalog.DrainOutcome{How: CauseDeadline, Lost: sessions + p.Lost}
}

// EndedDrain is a drain that has ended.
type EndedDrain struct {
	Object string // as in Drain
	Site   string // empty for a member's
	At     time.Time
	Text   string
	catalog.DrainOutcome
}

// maxEnded is how many outcomes are kept at hand; the audit has the rest.
const maxEnded = 50

// EndedDrains returns how drains have ended since this proxy started, the latest first.
func (d *Deployer) EndedDrains() []EndedDrain {
	d.endedMu.Lock()
	defer d.endedMu.Unlock()
	return slices.Clone(d.ended)
}

// keepEnded keeps an outcome at hand.
func (d *Deployer) keepEnded(e EndedDrain) {
	e.Site, _, _ = strings.Cut(strings.ReplaceAll(e.Object, "@", "/"), "/")
	if e.Site == e.Object {
		e.Site = ""
	}
	d.endedMu.Lock()
	defer d.endedMu.Unlock()
	d.ended = slices.Insert(d.ended, 0, e)
	d.ended = d.ended[:min(len(d.ended), maxEnded)]
}

// What outcomes and visitors are told of sessions that were cut.
const (
	CauseDeadline = "deadline"
	CauseOperator = "operator"
	CauseExited   = "instance-exited"
)

// lostText says how many sessions were lost by a failure, and what failed.
func lostText(p catalog.DrainProgress) string {
	return FailureText(p.Cause) + ": " + count(p.Lost) + " lost"
}

// FailureText says for people what has failed, by a cause as visitors are told it.
func FailureText(cause string) string {
	switch cause {
	case CauseExited:
		return "instance exited"
	case "member-failed":
		return "server failed"
	case "network":
		return "server could not be reached"
	}
	return cause
}

func count(sessions int) string {
	if sessions == 1 {
		return "1 session"
	}
	return fmt.Sprintf("%d sessions", sessions)
}

// tell writes an outcome to the log and the audit, and whatever else belongs to it in
// the same step; outcome and also may be nil.
func (d *Deployer) tell(action string, x *Drain, detail string, outcome *catalog.DrainOutcome, now time.Time, also func(tx *catalog.Tx) error) {
	object := x.Object
	if outcome != nil {
		outcome.Since = x.Since
	}
	d.logger.Info(action, "object", object, "outcome", detail)
	d.update(action, func(tx *catalog.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return tx.Audit(catalog.AuditEntry{ID: ids.New(now), At: now.UTC(), By: "portico", Action: action, Object: object, Detail: detail, Drain: outcome})
	})
	if outcome != nil {
		d.keepEnded(EndedDrain{Object: object, At: now.UTC(), Text: detail, DrainOutcome: *outcome})
	}
}
