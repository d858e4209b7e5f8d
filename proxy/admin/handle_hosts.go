package admin

import (
	"net/http"

	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
)

func (s *Server) listHosts(c *call) error {
	return c.json(http.StatusOK, s.hostInfos(c.who))
}

func (s *Server) hostInfos(who *access.Identity) []api.HostInfo {
	out := []api.HostInfo{}
	certificates := s.certificates()
	for _, l := range s.o.Catalog.View().HostLines() {
		if len(who.Sites) > 0 && (l.Proxy != "" || !who.Sees(l.Site)) {
			continue
		}
		info := api.HostInfo{Host: l.Host, Path: l.Path, Site: l.Site, Owner: l.Owner, Proxy: l.Proxy}
		if l.Proxy != "" {
			info.Owner = ""
		}
		if c, ok := certificates[l.Host]; ok && l.Site != "" {
			info.Certificate = &c
		}
		if l.Shared != nil {
			info.SharedBy, info.SharedAt, info.Beside = l.Shared.By, l.Shared.At, l.Shared.Beside
		}
		out = append(out, info)
	}
	return out
}

// certificates returns how the hosts' certificates stand at this proxy, by host.
func (s *Server) certificates() map[string]api.Certificate {
	out := map[string]api.Certificate{}
	if s.o.Certificates == nil {
		return out
	}
	for _, c := range s.o.Certificates() {
		for _, name := range c.Names {
			out[name] = c
		}
	}
	return out
}

func (s *Server) shareHost(c *call) error {
	return s.hostVerb(c, func(tx *catalog.Tx, host, site string) error {
		return command.ShareHost(tx, host, site, c.who.Account, c.now)
	})
}

func (s *Server) unshareHost(c *call) error {
	return s.hostVerb(c, func(tx *catalog.Tx, host, site string) error {
		return command.UnshareHost(tx, host, site, c.now)
	})
}

func (s *Server) moveHost(c *call) error {
	return s.hostVerb(c, func(tx *catalog.Tx, host, site string) error {
		return command.MoveHost(tx, host, site, c.who.Account, c.now)
	})
}

// hostVerb does one of the verbs and answers with the hosts as they are then.
func (s *Server) hostVerb(c *call, do func(tx *catalog.Tx, host, site string) error) error {
	var in api.HostRequest
	if err := c.input(&in); err != nil {
		return err
	}
	if in.Site == "" {
		return refusal.BadRequest(`send {"site":"shop"}`, "the site is missing")
	}
	host := c.r.PathValue("host")
	c.detail = "site " + api.Bounded(in.Site, 60)
	if _, err := s.o.Catalog.Update(c.r.Context(), func(tx *catalog.Tx) error { return do(tx, host, in.Site) }); err != nil {
		return err
	}
	return c.json(http.StatusOK, s.hostInfos(c.who))
}
