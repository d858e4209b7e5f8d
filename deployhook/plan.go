package deployhook

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// stallGrace is added to a site's deploy timeout before a silent or stuck member
// fails a deploy: the agent keeps the timeout itself and says more about it.
const stallGrace = 30 * time.Second

// Situation is all that Plan looks at.
type Situation struct {
	Deploy   catalog.Deploy
	Settings sites.Settings // of the release, joined and with defaults
	Servers  []Server       // accepted application servers that the site belongs on, by name
	Now      time.Time
	Began    time.Time // when this proxy saw the deploy first: its clock may have been set since Deploy.Created

	// Homeless is why the site belongs on none of the servers that there are; nil where
	// it does, or there is no server at all.
	Homeless error
}

// Server is one application server during a deploy.
type Server struct {
	Name string
	Addr string

	// Away: nothing has been heard of it, so nobody waits for it. It installs
	// the release when it is back.
	Away bool
	// Idle: operators keep visitors off it, so healthy is as far as it gets.
	Idle bool
	// Report is its latest word on this release, nil if it has said none.
	Report *catalog.MemberProgress
	// Failing: the instance was healthy, and its agent says that it is not any more.
	Failing bool
	// Verified: the proxy's own checks of the instance pass.
	Verified bool
	// Changed is when Report last said something new, or when this proxy
	// began to listen.
	Changed time.Time
}

// Decision is what a deploy becomes.
type Decision struct {
	Members map[string]catalog.MemberProgress
	State   catalog.DeployState // running, succeeded or failed
	Error   string
	Hint    string
}

// Plan decides the next state of a running deploy. It is pure: the same
// situation gives the same decision, and a decision applied gives a situation
// that can be decided again.
//
// One failed member fails the deploy. Members that are away are not waited for.
// At least one member must have come all the way, except that a cluster without
// any application server takes the release at once, for the first that joins.
func Plan(s Situation) Decision {
	d := Decision{Members: maps.Clone(s.Deploy.Members), State: catalog.DeployRunning}
	if d.Members == nil {
		d.Members = map[string]catalog.MemberProgress{}
	}
	s.dropLeft(&d)
	if s.Homeless != nil {
		d.State, d.Error = catalog.DeployFailed, s.Homeless.Error()
		return d
	}
	if len(s.Servers) == 0 {
		d.State = catalog.DeploySucceeded
		d.Hint = "no application server is accepted yet: the site starts on the first one that joins"
		if len(s.Settings.Servers) > 0 {
			d.Hint = fmt.Sprintf("no application server is accepted yet: the site starts on the first one with a label or name of servers = %q", s.Settings.Servers)
		}
		return d
	}
	for _, server := range s.Servers {
		s.advance(&d, server)
	}
	if s.failed(&d) {
		return d
	}
	s.beginWaves(&d)
	s.finish(&d)
	return d
}

// dropLeft marks members that are no longer accepted, or that the site does not belong on any more.
func (s Situation) dropLeft(d *Decision) {
	for name, p := range d.Members {
		if p.Step != catalog.StepStopped && !slices.ContainsFunc(s.Servers, func(srv Server) bool { return srv.Name == name }) {
			d.Members[name] = catalog.MemberProgress{Step: catalog.StepStopped, Detail: "no longer a server of this site", Updated: s.Now}
		}
	}
}

// advance takes in what one member says.
func (s Situation) advance(d *Decision, srv Server) {
	p, known := d.Members[srv.Name]
	switch {
	case srv.Away:
		s.set(d, srv.Name, catalog.MemberProgress{Step: catalog.StepWaiting, Detail: awayDetail})
		return
	case !known || p.Step == catalog.StepStopped:
		s.set(d, srv.Name, catalog.MemberProgress{Step: catalog.StepWaiting, Detail: "its turn comes"})
		return
	case !p.Begun():
		if p.Detail == awayDetail {
			s.set(d, srv.Name, catalog.MemberProgress{Step: catalog.StepWaiting, Detail: "its turn comes"})
		}
		return
	}
	next := p
	if srv.Report != nil && srv.Report.Step != "" && srv.Report.Step != catalog.StepWaiting {
		next = *srv.Report
	}
	switch next.Step {
	case catalog.StepHealthy, catalog.StepInRotation:
		next = s.judge(next, srv)
	case catalog.StepStopped:
		next.Step = catalog.StepFailed
		if next.Detail == "" {
			next.Detail = "the agent stopped it"
		}
	case catalog.StepFailed:
	default:
		if s.stuck(srv) {
			next.Detail = fmt.Sprintf("nothing has changed for %s while %s", s.limit(), next.Step)
			next.Step = catalog.StepFailed
		}
	}
	s.set(d, srv.Name, next)
}

// judge says how far a member is that calls its instance healthy, or did so once: one of a former release runs on for its sessions and
// may have begun to fail since. Only what the instance says to the checks of this release counts, not to those of before.
func (s Situation) judge(p catalog.MemberProgress, srv Server) catalog.MemberProgress {
	asked := p.Probe == nil || p.Probe.Asked == "" || p.Probe.Asked == s.Settings.Question()
	told := p.Probe != nil && p.Probe.Asked != "" // agents of earlier versions do not tell
	p.Step = catalog.StepHealthy
	switch {
	case srv.Idle && (srv.Failing || !asked):
	case srv.Failing && asked && told:
		p.Step, p.Detail = catalog.StepFailed, failsNow
	case srv.Verified && asked && !srv.Failing:
		p.Step = catalog.StepInRotation
	case srv.Idle || !s.stuck(srv):
	case p.Probe != nil && !p.Probe.OK:
		p.Step, p.Detail = catalog.StepFailed, failsNow
	default:
		p.Step, p.Detail = catalog.StepFailed, fmt.Sprintf("the agent calls it healthy, but this proxy cannot reach it through %s", srv.Addr)
	}
	return p
}

const failsNow = "it was healthy, and fails the checks of its agent now"

const awayDetail = "away: it installs the release when it is back"

func (s Situation) limit() time.Duration { return s.Settings.Deploy.Timeout.Std() + stallGrace }

func (s Situation) stuck(srv Server) bool {
	since := srv.Changed
	if since.Before(s.Began) {
		since = s.Began
	}
	return s.Now.Sub(since) > s.limit()
}

// set records a member's progress, with a new time only if it differs in more
// than bytes, so that an unchanged deploy is not written again.
func (s Situation) set(d *Decision, name string, p catalog.MemberProgress) {
	was, known := d.Members[name]
	if known && was.Step == p.Step && was.Detail == p.Detail && p.Step != catalog.StepFailed {
		return
	}
	p.Updated = s.Now
	d.Members[name] = p
}

// failed ends the deploy if a member has failed.
func (s Situation) failed(d *Decision) bool {
	groups := Failures(d.Members)
	if len(groups) == 0 {
		return false
	}
	d.State = catalog.DeployFailed
	d.Error = describeFailures(groups)
	d.Hint = "nothing runs the new release yet; correct it and deploy again"
	if s.Deploy.Previous != "" {
		d.Hint = "the release that ran before was not touched and keeps serving"
	}
	for name, p := range d.Members {
		if p.Begun() && p.Step != catalog.StepFailed {
			s.set(d, name, stoppedBy(groups[0].Members[0], p))
		}
	}
	return true
}

// stoppedBy is the progress of a member that had to stop because another one failed. What was wrong
// with it by then stays to be seen: it may be something else.
func stoppedBy(other string, p catalog.MemberProgress) catalog.MemberProgress {
	detail := "stopped, because " + other + " failed"
	if p.Detail != "" {
		detail += fmt.Sprintf("; it was %s, and said: %s", p.Step, p.Detail)
	}
	return catalog.MemberProgress{Step: catalog.StepStopped, Detail: detail, Probe: p.Probe, Log: p.Log}
}

// beginWaves lets waiting members begin as far as the wave allows: one alone
// while the before command has yet to run, then wave at a time.
func (s Situation) beginWaves(d *Decision) {
	running, good := 0, 0
	for _, srv := range s.Servers {
		switch p := d.Members[srv.Name]; {
		case s.good(p, srv):
			good++
		case p.Begun():
			running++
		}
	}
	wave := s.Settings.Deploy.Wave
	if wave <= 0 {
		wave = len(s.Servers)
	}
	if len(s.Settings.Deploy.Before) > 0 && !s.Deploy.Rollback && !s.Deploy.Settings && good == 0 {
		wave = 1
	}
	for _, srv := range s.Servers {
		if running >= wave {
			return
		}
		if srv.Away || d.Members[srv.Name].Begun() {
			continue
		}
		s.set(d, srv.Name, catalog.MemberProgress{Step: catalog.StepFetching})
		running++
	}
}

// good reports whether a member has come as far as it can.
func (s Situation) good(p catalog.MemberProgress, srv Server) bool {
	return p.Step == catalog.StepInRotation || p.Step == catalog.StepHealthy && srv.Idle
}

// finish ends the deploy when everybody who is there is done.
func (s Situation) finish(d *Decision) {
	good, away := 0, 0
	for _, srv := range s.Servers {
		switch {
		case srv.Away:
			away++
		case s.good(d.Members[srv.Name], srv):
			good++
		default:
			return // somebody is still at it
		}
	}
	switch {
	case good > 0:
		d.State = catalog.DeploySucceeded
		if away > 0 {
			d.Hint = fmt.Sprintf("%d of %d application servers are away and install the release when they are back", away, len(s.Servers))
		}
	case s.Now.Sub(s.Began) > s.limit():
		d.State = catalog.DeployFailed
		d.Error = fmt.Sprintf("none of the %d application servers has been heard of for %s", len(s.Servers), s.limit())
		d.Hint = "look at portico members, and whether the agents run and reach this proxy"
	}
}
