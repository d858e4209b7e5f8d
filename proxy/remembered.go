package proxy

import (
	"portico/proxy/recent"
	"portico/proxy/sticky"
)

// Recent returns exchanges that ended lately, the latest first. It reads what the
// loops wrote and stops nothing.
func (s *Server) Recent(q recent.Query) []recent.Exchange {
	t := s.table.Load()
	return s.recent.Find(q, func(site string) *sticky.Profile {
		if st := t.Site(site); st != nil {
			return &st.Profile
		}
		return nil
	})
}
