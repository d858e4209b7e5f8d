package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/proxy/admin/deeds"
)

func (s *Server) listDeploys(c *call) error {
	site := c.r.URL.Query().Get("site")
	out := []*catalog.Deploy{}
	for _, d := range s.o.Catalog.View().Deploys {
		if c.who.Sees(d.Site) && (site == "" || d.Site == site) {
			out = append(out, d)
		}
	}
	return c.json(http.StatusOK, out)
}

// deploy returns the deploy in the path, if the caller may see its site.
func (s *Server) deploy(c *call) (*catalog.Deploy, error) {
	id := c.r.PathValue("deploy")
	d := s.o.Catalog.View().Deploy(id)
	if d == nil || !c.who.Sees(d.Site) {
		return nil, api.NotFound("", "there is no deploy %q", id)
	}
	return d, nil
}

func (s *Server) getDeploy(c *call) error {
	d, err := s.deploy(c)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, d)
}

// archive hands an upload to the receiver, behind deadlines that move with the
// bytes.
func (s *Server) archive(c *call) error {
	if s.o.Archive == nil {
		return api.NotOffered("deploys")
	}
	if err := sites.ValidName("site", c.r.PathValue("site")); err != nil {
		return err
	}
	c.dry = c.dry || c.r.URL.Query().Get("dry_run") == "1"
	c.r.Body = s.paced(c, c.r.Body)
	w := &statusWriter{ResponseWriter: c.w}
	if err := s.take(c, w, c.r); err != nil {
		return err
	}
	if w.status >= 400 {
		c.detail = "answered " + strconv.Itoa(w.status)
		s.record(c, errors.New(c.detail))
		c.quiet = true
	}
	return nil
}

// paced puts an upload's body behind deadlines that move with its bytes.
func (s *Server) paced(c *call, body readCloser) *pacedBody {
	return &pacedBody{ctx: c.r.Context(), body: body, rc: http.NewResponseController(c.w), begun: c.now}
}

// take hands an upload to the receiver, unless too many are under way.
func (s *Server) take(c *call, w http.ResponseWriter, r *http.Request) error {
	if s.o.Archive == nil {
		return api.NotOffered("deploys")
	}
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	default:
		c.w.Header().Set("Retry-After", "10")
		return api.Failf(http.StatusServiceUnavailable, "busy", "try again in a moment", "%d uploads are under way", maxUploads)
	}
	s.o.Archive.ServeHTTP(w, r)
	return nil
}

// An upload must bring something within uploadPause and, after uploadGrace,
// uploadRate bytes a second on average: slower ones hold a place for nothing.
const (
	uploadPause = 30 * time.Second
	uploadGrace = 30 * time.Second
	uploadRate  = 4 << 10
)

type readCloser interface {
	Read([]byte) (int, error)
	Close() error
}

// pacedBody moves the read deadline with each read and gives up on a client
// that is too slow.
type pacedBody struct {
	ctx   context.Context // of the request: its end ends a read
	body  readCloser
	rc    *http.ResponseController
	begun time.Time
	got   int64
}

func (b *pacedBody) Read(p []byte) (int, error) {
	now := time.Now()
	if age := now.Sub(b.begun); age > uploadGrace && b.got < int64(age/time.Second)*uploadRate {
		return 0, api.Failf(http.StatusRequestTimeout, "too_slow", "", "the upload brought %d bytes in %s", b.got, age.Round(time.Second))
	}
	_ = b.rc.SetReadDeadline(now.Add(uploadPause))
	if b.ctx.Err() != nil { // after the deadline was set: whileGood sets its own after it has ended the request
		return 0, context.Cause(b.ctx)
	}
	n, err := b.body.Read(p)
	b.got += int64(n)
	if err != nil {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

func (b *pacedBody) Close() error { return b.body.Close() }

// statusWriter remembers the status for the audit log.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (s *Server) rollback(c *call) error {
	var in api.RollbackRequest
	if err := c.input(&in); err != nil {
		return err
	}
	site, err := s.site(c)
	if err != nil {
		return err
	}
	target, err := s.deeds.RollbackTarget(site, in.Release)
	if err != nil {
		return err
	}
	if c.dry {
		return c.json(http.StatusOK, s.forecastSite("rollback", site.Name, target, in.NoPin, s.everywhere(c)))
	}
	c.detail = deeds.RollbackDetail(target, in.NoPin)
	d, err := s.deeds.RollBack(c.r.Context(), c.who.Account, site.Name, target, in.NoPin)
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, d)
}

// deployEvents streams a deploy as server-sent events. The last one is named
// "end".
func (s *Server) deployEvents(c *call) error {
	d, err := s.deploy(c)
	if err != nil {
		return err
	}
	if s.o.Deploys == nil {
		return api.NotOffered("deploys")
	}
	out := newEventStream(c.w)
	stop := out.beat(api.Heartbeat)
	err = s.o.Deploys.Events(c.r.Context(), d.ID, func(e catalog.Event) error {
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		return out.send("data: " + string(b) + "\n\n")
	})
	stop()
	if err != nil {
		return nil // the stream has begun: it ends without "end", and the client comes back
	}
	_ = out.send("event: end\ndata: {}\n\n")
	return nil
}

// eventStream writes server-sent events, each within a deadline.
type eventStream struct {
	mu sync.Mutex // events and heartbeats come from two goroutines
	w  http.ResponseWriter
	rc *http.ResponseController
}

func newEventStream(w http.ResponseWriter) *eventStream {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	s := &eventStream{w: w, rc: http.NewResponseController(w)}
	_ = s.send(": begin\n\n")
	return s
}

func (s *eventStream) send(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.rc.SetWriteDeadline(time.Now().Add(10 * time.Second))
	// In HTTP/2 a deadline that passes ends the stream though nothing is being
	// written, so it must not outlast the write.
	defer func() { _ = s.rc.SetWriteDeadline(time.Time{}) }()
	if _, err := fmt.Fprint(s.w, text); err != nil {
		return err
	}
	return s.rc.Flush()
}

// beat sends comments until stop is called, which waits for the last of them.
func (s *eventStream) beat(every time.Duration) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if s.send(api.Beat+"\n\n") != nil {
					return
				}
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// cancelDeploy answers POST /v1/sites/{site}/cancel.
func (s *Server) cancelDeploy(c *call) error {
	site, err := s.site(c)
	if err != nil {
		return err
	}
	d, err := s.deeds.Cancel(c.r.Context(), c.who.Account, site.Name)
	if err != nil {
		return err
	}
	c.detail = d.ID
	return c.json(http.StatusOK, d)
}
