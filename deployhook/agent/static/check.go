package static

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"portico/deployhook/agent/health"
	"portico/membership/catalog"
)

// Check asks the files as a proxy would, without a network in between.
func (s *Site) Check(ctx context.Context, c health.Check) catalog.Probe {
	p := catalog.Probe{At: time.Now()}
	req, err := c.Request(ctx)
	if err != nil || c.TCP {
		p.OK, p.Code = err == nil, "L4OK"
		if err != nil {
			p.Code, p.Error = "L7RSP", err.Error()
		}
		return p
	}
	w := &recorder{header: make(http.Header)}
	s.ServeHTTP(w, req)
	c.Judge(&p, cmp.Or(w.status, http.StatusOK), w.body, nil)
	return p
}

// recorder keeps the beginning of an answer.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(code int) {
	if r.status == 0 {
		r.status = code
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.body = append(r.body, p[:min(len(p), health.BodyRead-len(r.body))]...)
	return len(p), nil
}
