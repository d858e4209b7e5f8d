package deployhook

import (
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// A rollback meets an instance that has just asked to stop: its agent reports so once more, under the new deploy, before it lets it go on.
// That is no failure.
func TestAskingToStopIsNoFailure(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	d := &catalog.Deploy{ID: "d", Site: "shop", Release: "r"}
	l := newLive()
	say := func(step catalog.Step) *messages.InstanceReport {
		l.take("server-1", messages.Report{Instances: []messages.InstanceReport{{
			Instance: catalog.Instance{ID: "i", Site: "shop", Release: "r", State: catalog.InstanceHealthy}, Deploy: "d",
			Progress: catalog.MemberProgress{Step: step, Detail: "waits until the proxies have let go of it"},
		}}}, now)
		word, _ := l.progress("server-1", d)
		return word
	}
	if p := say(catalog.StepStopped); p != nil {
		t.Errorf("asking to stop counts as %+v", p)
	}
	if p := say(catalog.StepHealthy); p == nil || p.Progress.Step != catalog.StepHealthy {
		t.Errorf("going on counts as %+v", p)
	}
}
