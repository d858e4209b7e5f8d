package proxy

import (
	"fmt"
	"io"
	"time"
)

// writeMetrics writes what the engine counts about itself in Prometheus text
// form: what is open, and how long the turns of its loops took. A turn that is
// long delays every connection of its loop.
func (e *engine) writeMetrics(w io.Writer) {
	st := e.driver.Stats()
	name := e.s.o.Conf.Engine
	for _, m := range []struct {
		name  string
		value any
	}{
		{"portico_engine_client_connections", st.Clients},
		{"portico_engine_upstream_connections", st.Upstreams},
		{"portico_engine_accepted_connections_total", st.Accepted},
		{"portico_engine_refused_connections_total", st.Refused},
		{"portico_engine_descriptors_short_total", st.Short},
		{"portico_engine_tls_handshakes_total", st.Handshakes},
		{"portico_engine_tls_handshakes_failed_total", st.BadTLS},
		{"portico_engine_tls_handshakes_running", st.Shaking},
		{"portico_engine_tls_handshakes_waiting", st.Waiting},
		{"portico_engine_gathered_sends_total", st.Gathered},
	} {
		fmt.Fprintf(w, "%s{engine=%q} %d\n", m.name, name, m.value)
	}
	var sum uint64
	for i, n := range st.Latency {
		sum += n
		bound := "+Inf"
		if i < len(st.Latency)-1 {
			bound = fmt.Sprint((time.Microsecond << i).Seconds())
		}
		fmt.Fprintf(w, "portico_engine_turn_seconds_bucket{engine=%q,le=%q} %d\n", name, bound, sum)
	}
	fmt.Fprintf(w, "portico_engine_turn_seconds_count{engine=%q} %d\n", name, sum)
	fmt.Fprintf(w, "portico_engine_slowest_turn_seconds{engine=%q} %g\n", name, st.SlowestTurn.Seconds())
}
