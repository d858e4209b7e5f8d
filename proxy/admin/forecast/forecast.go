package forecast

import (
	"fmt"

	"portico/balancer/figures"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/proxy/admin/proxies"
)

// sum adds up what an action on some upstreams would touch. cut says that
// their sessions would lose their instance; a drain, a deploy and a rollback
// let them end in peace.
func sum(action, object string, cut bool, pools proxies.Totals, touched func(p *figures.Pool, u *figures.Upstream) bool) api.Forecast {
	f := api.Forecast{Action: action, Object: object, Instances: []api.ForecastLine{}}
	var live, recent int64
	counting := false // a proxy has not been up for long enough to have seen them all
	for i := range pools.Pools {
		p := &pools.Pools[i]
		hit, left := false, 0
		for j := range p.Upstreams {
			u := &p.Upstreams[j]
			if !touched(p, u) {
				if u.InRotation {
					left++
				}
				continue
			}
			hit = true
			counting = counting || pools.Counting(p.Name, u.ID)
			line := api.ForecastLine{
				Site: p.Name, Instance: u.ID, Member: u.Member,
				Sessions: int64(u.Sessions), Recent: pools.Recent(u.ID), InFlight: int64(u.InFlight),
			}
			if u.Unpinned { // any other continues the visits, and a drain does not wait for them
				f.Visits += line.Sessions
				line.Sessions, line.Recent = 0, 0
			}
			f.Instances = append(f.Instances, line)
			live, recent = live+line.Sessions, recent+line.Recent
			f.InFlight += line.InFlight
		}
		if hit {
			f.Left += left
		}
	}
	if cut {
		f.Sessions, f.Recent = live, recent
	} else {
		f.Keeps = live
	}
	f.Recounting = counting || len(pools.Silent) > 0 && len(f.Instances) > 0
	f.Message, f.Notes = message(f, cut, live, recent), pools.Note()
	if counting && (cut || action == api.VerbDrain) {
		f.Notes = append(f.Notes, "the proxy started a short while ago and counts sessions as they come back: there may be more")
	}
	if f.Visits > 0 && f.Left > 0 {
		f.Message += fmt.Sprintf(" (the %s of static sites there go on elsewhere)", api.Count(f.Visits, "visit"))
	}
	return f
}

func message(f api.Forecast, cut bool, live, recent int64) string {
	where := fmt.Sprintf("%s on %s", api.Count(live, "session"), api.Count(int64(len(f.Instances)), "instance"))
	switch {
	case len(f.Instances) == 0:
		return "touches no instance that this proxy knows"
	case cut && live == 0:
		return fmt.Sprintf("cuts no session; %s stop", api.Count(int64(len(f.Instances)), "instance"))
	case cut:
		return fmt.Sprintf("would cut %s, %d used in the last 5 minutes", where, recent)
	case live == 0:
		return "cuts nothing: there is no session there"
	}
	return fmt.Sprintf("cuts nothing: %s stay until they end (%d used in the last 5 minutes)", where, recent)
}

// Member is the forecast of a verb on a member.
func Member(view *catalog.View, verb, name string, pools proxies.Totals) api.Forecast {
	cut := verb == api.VerbMaint || verb == api.VerbRevoke || verb == api.VerbRefuse
	f := sum(verb, name, cut, pools, func(_ *figures.Pool, u *figures.Upstream) bool { return u.Member == name })
	if verb == api.VerbRevoke {
		f.Notes = append(newlyHomeless(withoutMember(view, name)), f.Notes...)
	}
	if verb == api.VerbReady || verb == api.VerbAccept {
		f.Message = "cuts nothing"
	}
	return f
}

// Site is the forecast of an action on a site's instances: of a removal on
// all, of a deploy or rollback on those of the present release, whose sessions are cut
// without a pin.
func Site(view *catalog.View, action, site string, cut bool, pools proxies.Totals) api.Forecast {
	f := sum(action, site, cut, pools, func(p *figures.Pool, u *figures.Upstream) bool {
		return p.Name == site && (action == "remove" || !u.Retiring)
	})
	if action == "remove" {
		return f
	}
	f.Notes = append(placementNotes(view, site), f.Notes...)
	if cut && f.Sessions > 0 {
		f.Message += ", once the other release is in rotation"
	}
	return f
}

// Release is the forecast of the drain or the end of a release.
func Release(site, digest string, cut bool, pools proxies.Totals) api.Forecast {
	return sum("drain", site+"@"+digest, cut, pools, func(p *figures.Pool, u *figures.Upstream) bool {
		return p.Name == site && u.Release == digest
	})
}

// Instance is the forecast of a verb on one instance.
func Instance(verb, site, id string, pools proxies.Totals) api.Forecast {
	f := sum(verb, site+"/"+id, verb == api.VerbMaint, pools, func(_ *figures.Pool, u *figures.Upstream) bool { return u.ID == id })
	if verb == api.VerbReady {
		f.Message = "cuts nothing"
	}
	return f
}
