// Package prometheus writes what a proxy counts, and what the catalog says of the cluster,
// as the text that Prometheus reads. Other packages write series of their own beside it, and
// who may read them is the admin listener's to say.
package prometheus

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"portico/balancer/figures"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// Series are what the admin listener itself has to tell.
type Series struct {
	View         *catalog.View
	Traffic      figures.Proxy
	Version      string // of the program
	Uptime       time.Duration
	Certificates map[string]api.Certificate // by host
}

// Write writes the series.
func (s *Series) Write(w io.Writer) {
	gauge(w, 1, "portico_build_info", "version", s.Version)
	gauge(w, s.Uptime.Seconds(), "portico_uptime_seconds")
	gauge(w, float64(s.View.Revision), "portico_catalog_revision")
	gauge(w, float64(len(s.View.Sites)), "portico_sites")
	writeMembers(w, s.View.Members)
	gauge(w, float64(running(s.View.Deploys)), "portico_deploys_running")
	for host, cert := range s.Certificates {
		writeCertificate(w, host, cert)
	}
	for i := range s.Traffic.Frontends {
		writeFrontend(w, &s.Traffic.Frontends[i])
	}
	for i := range s.Traffic.Pools {
		writePool(w, &s.Traffic.Pools[i])
	}
}

func writeMembers(w io.Writer, list map[string]*catalog.Member) {
	members := map[catalog.Admission]map[catalog.Role]int{}
	for _, a := range []catalog.Admission{catalog.Pending, catalog.Accepted, catalog.Refused, catalog.Revoked} {
		members[a] = map[catalog.Role]int{catalog.RoleProxy: 0, catalog.RoleServer: 0}
	}
	for _, m := range list {
		if roles := members[m.Admission]; roles != nil {
			roles[m.Role]++
		}
	}
	for admission, roles := range members {
		for role, n := range roles {
			gauge(w, float64(n), "portico_members", "role", string(role), "admission", string(admission))
		}
	}
}

func running(deploys []*catalog.Deploy) (n int) {
	for _, d := range deploys {
		if d.State == catalog.DeployRunning {
			n++
		}
	}
	return n
}

func writeCertificate(w io.Writer, host string, cert api.Certificate) {
	if cert.State == "none" {
		return
	}
	if !cert.Expiry.IsZero() {
		gauge(w, float64(cert.Expiry.Unix()), "portico_certificate_expiry_timestamp_seconds", "host", host, "source", cert.Source)
	}
	gauge(w, float64(bit(cert.Error != "")), "portico_certificate_failing", "host", host, "source", cert.Source)
}

func writeFrontend(w io.Writer, f *figures.Frontend) {
	counter(w, f.ConnTotal, "portico_frontend_connections_total", "frontend", f.Name)
	gauge(w, float64(f.Conns), "portico_frontend_connections", "frontend", f.Name)
	counter(w, f.Requests, "portico_frontend_requests_total", "frontend", f.Name)
	counter(w, f.Denied, "portico_frontend_denied_requests_total", "frontend", f.Name)
	counter(w, f.Errors, "portico_frontend_bad_requests_total", "frontend", f.Name)
	counter(w, f.BytesIn, "portico_frontend_received_bytes_total", "frontend", f.Name)
	counter(w, f.BytesOut, "portico_frontend_sent_bytes_total", "frontend", f.Name)
}

func writePool(w io.Writer, p *figures.Pool) {
	gauge(w, float64(p.Active), "portico_pool_usable_upstreams", "site", p.Name)
	gauge(w, float64(p.Sessions), "portico_pool_sessions", "site", p.Name)
	gauge(w, float64(p.Waiting), "portico_pool_waiting_visitors", "site", p.Name)
	gauge(w, float64(p.Queued), "portico_pool_queued_requests", "site", p.Name)
	counter(w, p.NewSessions, "portico_pool_new_sessions_total", "site", p.Name)
	for cause, n := range p.Lost {
		if cause != "" {
			counter(w, n, "portico_pool_lost_sessions_total", "site", p.Name, "cause", cause)
		}
	}
	for cause, n := range p.Refused {
		if cause != "" {
			counter(w, n, "portico_pool_refused_cookies_total", "site", p.Name, "cause", cause)
		}
	}
	for i := range p.Upstreams {
		writeUpstream(w, p.Name, &p.Upstreams[i])
	}
}

func writeUpstream(w io.Writer, site string, u *figures.Upstream) {
	labels := []string{"site", site, "instance", u.ID, "member", u.Member}
	gauge(w, float64(bit(u.State == figures.Up)), "portico_upstream_up", labels...)
	gauge(w, float64(bit(u.InRotation)), "portico_upstream_in_rotation", labels...)
	gauge(w, float64(u.Sessions), "portico_upstream_sessions", labels...)
	gauge(w, float64(u.InFlight), "portico_upstream_running_requests", labels...)
	counter(w, u.Total, "portico_upstream_requests_total", labels...)
	counter(w, u.ConnectErrors, "portico_upstream_connect_errors_total", labels...)
	counter(w, u.ResponseErrors, "portico_upstream_response_errors_total", labels...)
	counter(w, u.Retries, "portico_upstream_retries_total", labels...)
	counter(w, u.ChecksFail, "portico_upstream_failed_checks_total", labels...)
	counter(w, u.BytesIn, "portico_upstream_received_bytes_total", labels...)
	counter(w, u.BytesOut, "portico_upstream_sent_bytes_total", labels...)
	for i, n := range []uint64{u.StatusOther, u.Status1xx, u.Status2xx, u.Status3xx, u.Status4xx, u.Status5xx} {
		code := "other"
		if i > 0 {
			code = fmt.Sprintf("%dxx", i)
		}
		counter(w, n, "portico_upstream_responses_total", append(labels[:len(labels):len(labels)], "code", code)...)
	}
	for quantile, d := range map[string]figures.Millis{"0.5": u.P50, "0.99": u.P99} {
		gauge(w, d.Std().Seconds(), "portico_upstream_duration_seconds", append(labels[:len(labels):len(labels)], "quantile", quantile)...)
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func gauge(w io.Writer, v float64, name string, labels ...string) {
	metrics.WriteGaugeFloat64(w, series(name, labels), v)
}

func counter(w io.Writer, v uint64, name string, labels ...string) {
	metrics.WriteCounterUint64(w, series(name, labels), v)
}

// series writes a name with its labels; %q escapes as Prometheus reads it for
// all that a name of ours can hold.
func series(name string, labels []string) string {
	if len(labels) == 0 {
		return name
	}
	var b bytes.Buffer
	b.WriteString(name + "{")
	for i := 0; i+1 < len(labels); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s=%q", labels[i], labels[i+1])
	}
	b.WriteByte('}')
	return b.String()
}
