package site

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"portico/balancer"
	"portico/proxy/exchange/account"
	"portico/proxy/sticky"
)

// State outlives changes of a site's settings.
type State struct {
	Pool    *balancer.Pool
	limiter limiter

	Adoption atomic.Pointer[sticky.Adoption] // of sessions of the balancer before; nil: of none

	running atomic.Int64 // requests

	Crowd atomic.Int64 // requests without a session that are held for restarting instances

	// What the pool was last updated with. One goroutine at a time updates it.
	specs  []balancer.Spec
	config balancer.Config

	set      *metrics.Set
	requests [6]*metrics.Counter
	duration *metrics.PrometheusHistogram
	bytesIn  *metrics.Counter
	bytesOut *metrics.Counter
	limited  *metrics.Counter
	once     sync.Once
}

// NewState returns the state of a site with a pool of specs.
func NewState(name string, pool *balancer.Pool, specs []balancer.Spec, c balancer.Config) *State {
	st := &State{Pool: pool, specs: specs, config: c, set: metrics.NewSet()}
	label := `{site=` + strconv.Quote(name) + `}`
	for i := range st.requests {
		code := strconv.Itoa(i) + "xx"
		if i == 0 {
			code = "other"
		}
		st.requests[i] = st.set.NewCounter(fmt.Sprintf(`portico_site_requests_total{site=%q,code=%q}`, name, code))
	}
	st.duration = st.set.NewPrometheusHistogram("portico_site_request_duration_seconds" + label)
	st.bytesIn = st.set.NewCounter("portico_site_received_bytes_total" + label)
	st.bytesOut = st.set.NewCounter("portico_site_sent_bytes_total" + label)
	st.limited = st.set.NewCounter("portico_site_rate_limited_requests_total" + label)
	st.set.NewGauge("portico_site_running_requests"+label, func() float64 { return float64(st.running.Load()) })
	return st
}

// Unregister takes the site's series away; they die with the site.
func (st *State) Unregister() { st.once.Do(st.set.UnregisterAllMetrics) }

// WriteMetrics writes the site's series in Prometheus text form.
func (st *State) WriteMetrics(w io.Writer) { st.set.WritePrometheus(w) }

// Update brings the pool up to date, if something has changed.
func (st *State) Update(specs []balancer.Spec, c balancer.Config, now int64) error {
	if !slices.Equal(st.specs, specs) || st.config != c {
		if err := st.Pool.Update(specs, c, now); err != nil {
			return err
		}
	}
	st.specs, st.config = specs, c
	return nil
}

// Begin counts a request that runs.
func (st *State) Begin() { st.running.Add(1) }

// End counts what became of it, and returns how many ran until then.
func (st *State) End(rec *account.Record) int {
	class := rec.Class()
	st.requests[class].Inc()
	st.duration.Update(rec.Total().Seconds())
	st.bytesIn.AddInt64(rec.BytesIn)
	st.bytesOut.AddInt64(rec.BytesOut)
	return int(st.running.Add(-1)) + 1
}

// Sweep forgets what the site's limit of requests needs no longer.
func (st *State) Sweep(now time.Time) { st.limiter.sweep(now) }

// Allow reports whether a request of addr is within the site's limit at now.
func (st *Site) Allow(addr netip.Addr, now time.Time) bool {
	if st.limiter.allow(st.Rate, addr, now) {
		return true
	}
	st.limited.Inc()
	return false
}
