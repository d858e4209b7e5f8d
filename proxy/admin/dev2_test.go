package admin_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"portico/balancer"
	"portico/membership/catalog"
	"portico/proxy/admin"
	"portico/proxy/haproxy"
)

func devOptions(o *admin.Options) {
	o.Version = "0.1.0"
	var h balancer.Histogram
	for range 4000 {
		h.Observe(time.Duration(rand.ExpFloat64()*12) * time.Millisecond)
	}
	started := time.Now().Add(-51 * time.Hour)
	o.Nodes = func() []admin.Node {
		return []admin.Node{{Name: "app-1", Status: "alive"}, {Name: "app-2", Status: "alive"}, {Name: "app-3", Status: "failed"}, {Name: "proxy-1", Status: "alive"}}
	}
	o.Certificates = func() []admin.Certificate {
		return []admin.Certificate{{Names: []string{"shop.example.com", "www.shop.example.com"}, Issuer: "Let's Encrypt R11", State: "valid", Expiry: time.Now().Add(61 * 24 * time.Hour)},
			{Names: []string{"intranet.example.com"}, Issuer: "Let's Encrypt R11", State: "renewing", Expiry: time.Now().Add(5 * 24 * time.Hour), Error: "429 rateLimited: try again after 03:10"}}
	}
	o.Snapshot = func() haproxy.Snapshot {
		k := uint64(time.Since(started).Seconds())
		u := func(name, member string, sess int, rate float64) balancer.UpstreamSnapshot {
			s := balancer.UpstreamSnapshot{ID: "abcdefghijklmnopqrstuvwxyz", Name: name, Member: member, Addr: "10.20.0.11:7444", Release: "9f2c41d7aa03" + digest("b")[:52], Token: "k7kdsufmey",
				State: balancer.Up, Status: "UP", InRotation: true, LastChange: 3*time.Hour + 12*time.Minute, Weight: 100, WeightConfigured: 100, Sessions: sess, InFlight: int(rate / 20), InFlightMax: 41, MaxConns: 200,
				Totals: balancer.Totals{Total: k * uint64(rate), Status2xx: k * uint64(rate) * 96 / 100, Status4xx: k * uint64(rate) * 4 / 100, Status5xx: 0, BytesIn: k * uint64(rate) * 700, BytesOut: k * uint64(rate) * 31000}, Rate: rate + rand.Float64()*8, RateMax: rate * 3,
				CheckCode: "L7OK", CheckStatus: 200, CheckTime: 1800 * time.Microsecond, Rise: 2, Fall: 3, Level: 4, MaxSessions: 400}
			s.TotalTime = h.Snapshot()
			return s
		}
		a, b, c, d := u("app-1", "app-1", 142, 120), u("app-2", "app-2", 97, 0.4), u("app-3", "app-3", 0, 0), u("app-1-1c77e0a", "app-1", 23, 4)
		b.Status, b.Admin, b.AdminReason, b.InRotation, b.LastChange = "DRAIN", balancer.AdminDrain, "drained by ada", false, 14*time.Minute
		c.State, c.Status, c.Reason, c.InRotation, c.CheckCode, c.CheckStatus, c.ConnectErrors, c.Retries, c.LastChange = balancer.Down, "DOWN 1/2", "3 checks failed: L4CON connection refused", false, "L4CON", 0, 31, 12, 48*time.Second
		d.Retiring, d.Status, d.Release, d.InRotation = true, "DRAIN", "1c77e0ab4455"+digest("c")[:52], false
		p := balancer.PoolSnapshot{Name: "shop", Policy: "least-sessions", Status: "UP", LastChange: 51 * time.Hour, Active: 1, Sessions: 262, NewSessionRate: 1.3, NewSessions: 90211, Weight: 100, Upstreams: []balancer.UpstreamSnapshot{a, b, c, d}, Lost: map[string]uint64{"member-down": 3}}
		p.Sum = a
		e1, e2, e3 := u("app-1", "app-1", 12, 30), u("app-2", "app-2", 9, 22), u("app-3", "app-3", 11, 25)
		e2.Status, e2.Level = "UP 1/3", 2
		e2.Reason = "L7STS 503 wrong status"
		e3.Admin, e3.Status, e3.InRotation = balancer.AdminMaint, "MAINT", false
		e1.Status5xx = 17
		q := balancer.PoolSnapshot{Name: "intranet", Policy: "round-robin", Status: "UP", LastChange: 9 * time.Hour, Active: 2, Sessions: 32, Upstreams: []balancer.UpstreamSnapshot{e1, e2, e3}, Recounting: true, Waiting: 2}
		q.Sum = e1
		f1, f2 := u("app-1", "app-1", 0, 0), u("app-2", "app-2", 0, 0)
		f1.Status, f2.Status, f2.State, f1.Level = "NOLB 2/3", "DOWN", balancer.Down, 3
		f1.State = balancer.Suspect
		f1.Reason, f2.Reason = "connection failed: reset by peer", "the process has exited: exit status 1"
		r := balancer.PoolSnapshot{Name: "reports", Policy: "least-connections", Status: "DOWN", LastChange: 20 * time.Second, Upstreams: []balancer.UpstreamSnapshot{f1, f2}}
		return haproxy.Snapshot{At: time.Now(), Started: started, Pools: []balancer.PoolSnapshot{p, q, r},
			Frontends: []haproxy.Frontend{{Name: "http", Addr: "0.0.0.0:80", Conns: 14, ConnsMax: 310, ConnTotal: 91822, ConnRate: 2, Requests: 91000, ReqRate: 1.4, ReqRateMax: 88, Status3xx: 91000, BytesIn: 1 << 24, BytesOut: 1 << 23},
				{Name: "https", Addr: "0.0.0.0:443", Conns: 412, ConnsMax: 2210, ConnsLimit: 20000, ConnTotal: 1_829_822, ConnRate: 11, Requests: k * 180, ReqRate: 182 + rand.Float64()*9, ReqRateMax: 940, Status2xx: k * 170, Status4xx: 9100, Status5xx: 17, BytesIn: 3 << 30, BytesOut: 191 << 30, Denied: 12, Errors: 33}}}
	}
	_, err := shared.Update(context.Background(), func(tx *catalog.Tx) error {
		now := time.Now()
		for _, name := range []string{"shop", "intranet", "reports"} {
			_ = tx.PutSite(catalog.Site{Name: name, Release: digest("b"), Manifest: catalog.Settings{Kind: catalog.KindStatic, Hosts: []string{name + ".example.com"}}})
		}
		_ = tx.PutMember(catalog.Member{Name: "app-3", Role: catalog.RoleServer, Admission: catalog.Accepted, Admin: catalog.AdminMaint, Addr: "10.20.0.13:7444", Fingerprint: digest("7"), Version: "0.1.0", Platform: "windows/amd64", Runtimes: map[string]string{"tomcat": "10.1.34", "php": "8.2.28"}})
		_ = tx.PutDeploy(catalog.Deploy{ID: "z3", Site: "shop", Release: "9f2c41d7aa03", State: catalog.DeployRunning, By: "ada", Created: now.Add(-9 * time.Second), Members: map[string]catalog.MemberProgress{
			"app-1": {Step: catalog.StepInRotation}, "app-2": {Step: catalog.StepFetching, Done: 31 << 20, Total: 88 << 20}, "app-3": {Step: catalog.StepWaiting}}})
		_ = tx.PutDeploy(catalog.Deploy{ID: "z2", Site: "reports", Release: "77aa41d7aa03", State: catalog.DeployFailed, By: "grace", Error: "app-2: not healthy within 60s: L7STS 500", Hint: "the process's log ends with: panic: dial tcp 10.0.0.4:5432: connection refused", Created: now.Add(-8 * time.Minute), Ended: now.Add(-7 * time.Minute), Members: map[string]catalog.MemberProgress{
			"app-1": {Step: catalog.StepStopped}, "app-2": {Step: catalog.StepFailed, Detail: "last probe: 500 in 3 ms: internal server error"}}})
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
}
