package admin

import (
	"time"

	"portico/balancer"
	"portico/proxy/admin/api"
	"portico/proxy/listen"
)

// frontendStats and its fellows turn snapshots into what the API shows.
func frontendStats(f *listen.Snapshot) api.FrontendStats {
	return api.FrontendStats{
		Name: f.Name, Addr: f.Addr,
		Conns: f.Conns, ConnsMax: f.ConnsMax, ConnsLimit: f.ConnsLimit, ConnTotal: f.ConnTotal,
		ConnRate: f.ConnRate, ConnRateMax: f.ConnRateMax,
		Requests: f.Requests, ReqRate: f.ReqRate, ReqRateMax: f.ReqRateMax,
		BytesIn: f.BytesIn, BytesOut: f.BytesOut, Denied: f.Denied, Errors: f.Errors,
		Responses: responses(f.Status1xx, f.Status2xx, f.Status3xx, f.Status4xx, f.Status5xx, f.StatusOther),
	}
}

func poolStats(p *balancer.PoolSnapshot) api.PoolStats {
	out := api.PoolStats{
		Name: p.Name, Policy: string(p.Policy), Status: p.Status, LastChange: p.LastChange.Milliseconds(),
		Active: p.Active, Backup: p.Backup, Sessions: p.Sessions, Recounting: p.Recounting,
		InFlight: p.InFlight, Total: p.Sum.Total, Rate: p.Rate, RateMax: p.RateMax, BytesIn: p.Sum.BytesIn, BytesOut: p.Sum.BytesOut,
		Waiting: p.Waiting, Queued: p.Queued, NewSessions: p.NewSessions, NewSessionRate: p.NewSessionRate,
		Lost: nonZero(p.Lost), Refused: nonZero(p.Refused), Upstreams: make([]api.UpstreamStats, len(p.Upstreams)),
	}
	for i := range p.Upstreams {
		out.Upstreams[i] = upstreamStats(&p.Upstreams[i])
	}
	return out
}

func upstreamStats(u *balancer.UpstreamSnapshot) api.UpstreamStats {
	s := api.UpstreamStats{
		ID: u.ID, Name: u.Name, Member: u.Member, Addr: u.Addr, Release: u.Release,
		Admin: u.Admin.String(), State: u.State.String(), Status: u.Status, Reason: u.Reason,
		InRotation: u.InRotation, Retiring: u.Retiring, Backup: u.Backup,
		LastChange: u.LastChange.Milliseconds(), DownTime: u.DownTime.Milliseconds(),
		CheckCode: u.CheckCode, CheckStatus: u.CheckStatus, CheckTime: millis(u.CheckTime), CheckDetail: u.CheckDetail,
		ChecksFail: u.ChecksFail, Downs: u.Downs, Weight: u.Weight, WeightSet: u.WeightConfigured,
		Sessions: u.Sessions, Recounting: u.Recounting, SessionsMax: u.MaxSessions, InFlight: u.InFlight, InFlightMax: u.InFlightMax,
		MaxConns: u.MaxConns, Queued: u.Queued, QueuedMax: u.QueuedMax, Total: u.Total, Rate: u.Rate, RateMax: u.RateMax,
		BytesIn: u.BytesIn, BytesOut: u.BytesOut, ConnErrors: u.ConnectErrors, RespErrors: u.ResponseErrors,
		Retries: u.Retries, Redispatch: u.Redispatches,
		Responses: responses(u.Status1xx, u.Status2xx, u.Status3xx, u.Status4xx, u.Status5xx, u.StatusOther),
		P50:       millis(u.TotalTime.Quantile(0.5)), P99: millis(u.TotalTime.Quantile(0.99)), Max: millis(u.TotalTime.Max),
	}
	if u.LastUsed > 0 {
		s.LastUsed = time.UnixMilli(u.LastUsed).UTC()
	}
	return s
}

// millis keeps microseconds and no more.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func responses(n ...uint64) map[string]uint64 {
	out := map[string]uint64{}
	for i, class := range [...]string{"1xx", "2xx", "3xx", "4xx", "5xx", "other"} {
		out[class] = n[i]
	}
	return out
}

func nonZero(in map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for k, v := range in {
		if v > 0 && k != "" {
			out[k] = v
		}
	}
	return out
}
