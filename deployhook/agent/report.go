package agent

import (
	"cmp"
	"context"
	"slices"
	"time"

	"portico/deployhook/agent/machine"
	"portico/deployhook/agent/members"
	"portico/internal/pause"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

const (
	// reportGap gathers changes that come together into one report.
	reportGap = 50 * time.Millisecond
	// reportEvery is how often an agent reports without any change: proxies see
	// by it that the agent lives.
	reportEvery = 10 * time.Second
	// endedKept bounds the ended instances that wait to be told.
	endedKept = 256
)

// report builds what is to be told now.
func (a *Agent) report() messages.Report {
	r := messages.Report{Version: a.o.Version, Disk: a.diskReport(), Memory: machine.Memory()}
	a.mu.Lock()
	defer a.mu.Unlock()
	r.Revision, r.Leaving, r.Runtimes = a.wanted.Revision, a.leaving, a.runtimes
	r.Instances = slices.Clone(a.ended)
	for _, u := range a.units {
		r.Instances = append(r.Instances, u.reportLocked())
	}
	slices.SortFunc(r.Instances, func(x, y messages.InstanceReport) int {
		return cmp.Or(cmp.Compare(x.Site, y.Site), x.Started.Compare(y.Started), cmp.Compare(x.ID, y.ID))
	})
	return r
}

// sendReports reports after each change, and now and then without one: to one proxy,
// which writes it down, and a copy to every other.
func (a *Agent) sendReports(ctx context.Context) {
	tick := time.NewTicker(pause.Jitter(reportEvery))
	defer tick.Stop()
	copies := a.members.Copies(ctx, a.report, a.answered)
	defer copies.Stop()
	var failed int
	for {
		select {
		case <-a.dirty:
			_ = pause.For(ctx, reportGap)
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !a.members.Any() {
			continue
		}
		r := a.report()
		copies.Wake()
		answer, err := a.members.Report(ctx, r)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			failed++
			a.log.Debug("report not delivered", "error", err)
			signal(a.dirty)
			_ = pause.For(ctx, members.RetryDelay(failed))
			continue
		}
		failed = 0
		copies.Set(a.members.Recipients(answer.Proxy))
		a.delivered(r)
		a.answered(answer)
	}
}

// askRuntimes asks what is installed here, and reports it.
func (a *Agent) askRuntimes(ctx context.Context) {
	if a.o.Runtimes == nil {
		return
	}
	found := a.o.Runtimes(ctx)
	if ctx.Err() != nil {
		return // what was cut short says nothing
	}
	a.mu.Lock()
	a.runtimes = found
	a.mu.Unlock()
	signal(a.dirty)
}

// delivered forgets the ended instances that have been written down.
func (a *Agent) delivered(r messages.Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	told := make(map[string]bool, len(r.Instances))
	for _, i := range r.Instances {
		if i.State == catalog.InstanceExited {
			told[i.ID] = true
		}
	}
	a.ended = slices.DeleteFunc(a.ended, func(i messages.InstanceReport) bool { return told[i.ID] })
}

// endedLocked notes an instance that is no more, to be told once.
func (a *Agent) endedLocked(r messages.InstanceReport) {
	a.ended = append(a.ended, r)
	if n := len(a.ended) - endedKept; n > 0 {
		a.ended = slices.Delete(a.ended, 0, n)
	}
	signal(a.dirty)
}
