package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"portico/deployhook/logs"
	"portico/internal/refusal"
	"portico/proxy/admin/api"
	"portico/proxy/admin/streams"
)

// logs copies a site's logs as text.
func (s *Server) logs(c *call) error {
	site, err := s.site(c)
	if err != nil {
		return err
	}
	if s.o.Logs == nil {
		return refusal.NotOffered("logs")
	}
	q, err := logQuery(site.Name, c.r.URL.Query(), c.now)
	if err != nil {
		return err
	}
	if q.Member != "" {
		if err := isMember(s.o.Catalog.View(), q.Member); err != nil {
			return err
		}
	}
	kind := "text/plain; charset=utf-8"
	if q.JSON {
		kind = "application/x-ndjson"
	}
	w := streams.NewText(c.w, kind)
	if err := s.o.Logs(c.r.Context(), w, q); err != nil && !w.Begun {
		return err
	}
	if !w.Begun {
		return c.text(http.StatusOK, nil)
	}
	return nil
}

// logQuery reads what is asked for of a site's logs.
func logQuery(site string, v url.Values, now time.Time) (logs.Query, error) {
	q := logs.Query{Site: site, Member: v.Get("member"), Instance: v.Get("instance"), Release: v.Get("release"), Lines: 100, Follow: v.Get("follow") == "1", JSON: v.Get("format") == "json"}
	if text := v.Get("since"); text != "" {
		if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
			q.Since, q.Lines = now.Add(-ago), api.MaxLogLines
		} else if q.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return q, refusal.BadRequest("use a duration such as 30m, or a time such as 2026-01-31T08:00:00Z", "since %q", text)
		} else {
			q.Lines = api.MaxLogLines
		}
	}
	text := cmp.Or(v.Get("tail"), v.Get("lines"))
	if text == "" {
		return q, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > api.MaxLogLines || n == 0 && !q.Follow {
		return q, refusal.BadRequest(fmt.Sprintf("use 1 to %d", api.MaxLogLines), "tail %q", text)
	}
	q.Lines = n
	return q, nil
}
