package proxy

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// KeepLongLived notes at now that the engine's streams are in use.
func (s *Server) KeepLongLived(now time.Time) { s.handler.LongLived.Keep(now, now.UnixMilli()) }

// PretendClockSet lets it look as if the system's clock had just been set by so much.
func (s *Server) PretendClockSet(by time.Duration) {
	s.clock.PretendSet(by)
}

// Served tells in words all that follows from the view and the configuration file, whatever came before: sites, pools, ways, checks.
func (s *Server) Served() string {
	s.updates.Lock()
	defer s.updates.Unlock()
	var b strings.Builder
	t := s.table.Load()
	for _, name := range t.Names {
		st := t.Site(name)
		fmt.Fprintf(&b, "site %s of %p, hosts %v, mount %s, pool %+v, claims %v\n", name, st.Source, st.Hosts, st.Mount, st.PoolConfig, st.Adoption.Load() != nil)
		for _, h := range st.Hosts {
			if e := t.Lookup(strings.Replace(h, "*", "any", 1), st.Mount); e != nil {
				fmt.Fprintf(&b, "  %s%s leads to %s\n", h, st.Mount, e.Name)
			}
		}
		for _, u := range s.bal.Pool(name).Upstreams() {
			p, known := t.Instance(u.ID())
			spec, way := *u.Spec(), "none"
			spec.Started = 0
			if o := s.origins.Get(u.ID()); o != nil {
				way = fmt.Sprint(o.Addr, o.Key, o.IdleTime, o.HTTP2, o.TLS != nil)
			}
			fmt.Fprintf(&b, "  %+v, %v; placed %v, its site %v, next %v; way %s\n", spec, u.Admin(), known, known && p.Site == st && p.Upstream == u, p.Next, way)
		}
	}
	for name := range t.Sites() {
		if !slices.Contains(t.Names, name) {
			fmt.Fprintf(&b, "%s has no name\n", name)
		}
	}
	var checked []string
	for _, id := range reflect.ValueOf(s.probes).Elem().FieldByName("runs").MapKeys() {
		checked = append(checked, id.String())
	}
	slices.Sort(checked)
	fmt.Fprintf(&b, "checked: %v\n", checked)
	var listened []string
	for _, member := range reflect.ValueOf(s.probes).Elem().FieldByName("streams").MapKeys() {
		listened = append(listened, member.String())
	}
	slices.Sort(listened)
	fmt.Fprintf(&b, "listened to: %v\n", listened)
	for _, id := range slices.Sorted(maps.Keys(s.agents)) {
		fmt.Fprintf(&b, "agent of %s says %s\n", id, s.agents[id])
	}
	return b.String()
}
