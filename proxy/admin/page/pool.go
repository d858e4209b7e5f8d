package page

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"portico/balancer/figures"
	"portico/conf/sites"
	"portico/membership/catalog"
)

type poolView struct {
	figures.Pool
	Class, StatusText, Hosts string
	Lost                     string
	NewRate                  float64
	P50, P99                 string
	Rows                     []rowView
}

type rowView struct {
	U                                *figures.Upstream
	Class, StatusText, Reason, Check string
	P50, P99, Title                  string
	OK                               uint64
}

// poolOf makes a site's table; shown is false where the view hides all of it.
func poolOf(only Only, view *catalog.View, p *figures.Pool) (out poolView, shown bool) {
	out = poolView{Pool: *p, Class: "up", StatusText: p.Status, NewRate: p.NewSessionRate, Lost: causes(p.Lost)}
	if p.Status != "UP" {
		out.Class = "down"
	}
	if p.LastChange > 0 {
		out.StatusText += " " + Age(p.LastChange.Std())
	}
	if uninstalled(view, p.Name) {
		out.Class, out.StatusText = "plain", notYet(view.Sites[p.Name])
	}
	if site := view.Sites[p.Name]; site != nil {
		if set, err := site.Effective(); err == nil {
			out.Hosts = hostsText(set)
		}
	}
	out.P50, out.P99 = formatLatency(p.Sum.P50.Std()), formatLatency(p.Sum.P99.Std())
	for i := range p.Upstreams {
		u := &p.Upstreams[i]
		if only.Up && u.State != figures.Up || only.NoMaint && u.Admin == figures.Maint {
			continue
		}
		out.Rows = append(out.Rows, rowOf(u))
	}
	slices.SortStableFunc(out.Rows, func(a, b rowView) int {
		return cmp.Or(lastly(a.U.Retiring)-lastly(b.U.Retiring), lastly(a.U.Backup)-lastly(b.U.Backup), cmp.Compare(a.U.Name, b.U.Name))
	})
	return out, len(out.Rows) > 0 || len(p.Upstreams) == 0
}

// uninstalled reports whether a site is known, but no release of it has ever been in rotation: it cannot be down.
func uninstalled(view *catalog.View, name string) bool {
	site := view.Sites[name]
	return site != nil && site.Release == ""
}

// notYet says in what state such a site is.
func notYet(site *catalog.Site) string {
	if site.Candidate != "" {
		return "being installed"
	}
	return "not installed: deploy or remove it"
}

func lastly(last bool) int {
	if last {
		return 1
	}
	return 0
}

func hostsText(s sites.Settings) string {
	hosts := strings.Join(s.Hosts, " ")
	if hosts == "" {
		hosts = "any other host"
	}
	if s.Path != "/" {
		hosts += " " + s.Path
	}
	return hosts
}

func causes(lost figures.Causes) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(lost)) {
		if n := lost[k]; n > 0 && k != "" {
			parts = append(parts, fmt.Sprintf("%s %s", formatNumber(n), k))
		}
	}
	return strings.Join(parts, ", ")
}

func rowOf(u *figures.Upstream) rowView {
	r := rowView{
		U: u, Class: colour(u), StatusText: u.Status, OK: u.Status2xx + u.Status3xx,
		P50: formatLatency(u.P50.Std()), P99: formatLatency(u.P99.Std()),
		Title: fmt.Sprintf("%s on %s at %s\ncookie %s", u.ID, cmp.Or(u.Member, "no member"), u.Addr, u.Token),
	}
	if u.LastChange > 0 {
		r.StatusText += " " + Age(u.LastChange.Std())
	}
	if r.Class != "up" {
		r.Reason = cmp.Or(u.AdminReason, u.Reason)
	}
	if u.CheckCode != "" && u.CheckCode != "INI" {
		r.Check = u.CheckCode
		if u.CheckStatus > 0 {
			r.Check += fmt.Sprintf("/%d", u.CheckStatus)
		}
		r.Check += " " + formatLatency(u.CheckTime.Std())
	}
	return r
}

// colour is the class of an upstream's row, by HAProxy's palette.
func colour(u *figures.Upstream) string {
	moving := strings.Contains(u.Status, "/")
	switch {
	case u.Admin == figures.Maint:
		return "maint"
	case strings.HasPrefix(u.Status, "no check"):
		return "nocheck"
	case u.State == figures.Down || u.State == figures.Unverified:
		if moving {
			return "going-up"
		}
		return "down"
	case u.Admin == figures.Drain || u.Retiring:
		return "drain"
	case u.State == figures.Suspect:
		return "nolb"
	case moving:
		return "going-down"
	}
	return "up"
}
