package admin

import (
	"portico/proxy/admin/api"
	"portico/proxy/admin/forecast"
	"portico/proxy/admin/page"
	"portico/proxy/admin/proxies"
)

// foretell puts the forecast of its button into a question; some have none.
func (s *Server) foretell(c *call, ask *page.Question) {
	v, t := &ask.V, ask.About
	var pools proxies.Totals
	switch {
	case !foretold(v):
		return
	case v.On == page.OnMember:
		pools = s.everywhere(c)
	default:
		pools = s.siteEverywhere(c, t.Site)
	}
	f := s.forecastOf(v, t, false, pools)
	ask.Forecast = &f
	if v.Pins {
		f := s.forecastOf(v, t, true, pools)
		ask.Unpinned = &f
	}
}

// foretold reports whether there is a forecast of a button.
func foretold(v *page.Verb) bool {
	switch v.Verb {
	case api.VerbAccept, api.VerbRefuse, page.VerbCancel, page.VerbMove, page.VerbEnd:
		return false
	}
	return v.On != page.OnNothing
}

// forecastOf is the forecast of a button that has one, the same as the API's for the same deed.
func (s *Server) forecastOf(v *page.Verb, t page.Target, noPin bool, pools proxies.Totals) api.Forecast {
	switch v.On {
	case page.OnMember:
		return forecast.Member(s.o.Catalog.View(), v.Verb, t.Member, pools)
	case page.OnInstance:
		return forecast.Instance(v.Verb, t.Site, t.Instance, pools)
	}
	switch v.Verb {
	case page.VerbDeploy, page.VerbRollback:
		return s.forecastSite(v.Verb, t.Site, t.Release, noPin, pools)
	case page.VerbRemove:
		return s.forecastSite(v.Verb, t.Site, "", true, pools)
	}
	return forecast.Release(t.Site, t.Release, v.Verb == page.VerbCut, pools)
}
