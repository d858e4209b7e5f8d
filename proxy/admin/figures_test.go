package admin_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/balancer"
	"portico/balancer/seal"
	"portico/proxy/admin/api"
	"portico/proxy/exchange/account"
	"portico/proxy/listen"
)

// recorded is the moment of the recorded figures.
var recorded = time.Date(2026, time.November, 30, 12, 0, 0, 0, time.UTC)

// traffic is what a front end and a pool count of some requests: all of it follows from the times that they are told.
func traffic(t *testing.T) (*listen.Traffic, *balancer.Pool) {
	t.Helper()
	at := recorded.Add(-time.Minute).UnixMilli()
	b, err := balancer.New(balancer.Options{Keys: []seal.Key{{ID: 1, Secret: bytes.Repeat([]byte{7}, 32), Created: recorded.Add(-time.Hour)}}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.NewPool("shop", []balancer.Spec{
		{ID: "i-1", Name: "app-1", Member: "app-1", Addr: "10.0.0.1:7444", Release: digest("b"), MaxConns: 200, Started: at},
		{ID: "i-2", Name: "app-2", Member: "app-2", Addr: "10.0.0.2:7444", Release: digest("a"), Retiring: true, MaxSessions: 50, Started: at},
		{ID: "i-3", Name: "spare", Addr: "10.0.0.3:8080", Weight: 50, Backup: true, Static: true, Started: at},
	}, balancer.Config{SlowStart: time.Hour}, at)
	if err != nil {
		t.Fatal(err)
	}
	one, two := p.Upstream("i-1"), p.Upstream("i-2")
	for i := range int64(5) {
		one.Observe(balancer.Evidence{OK: true, Code: "L7OK", Status: 200, Latency: 2345 * time.Microsecond}, at+i*1000)
		two.Observe(balancer.Evidence{Code: "L7STS", Status: 503, Latency: 150 * time.Millisecond, Detail: `wrong "status", 503`}, at+i*1000)
	}
	p.Upstream("i-3").SetAdmin(balancer.AdminMaint, "its disk is changed", at+7000)
	for i, status := range []int{101, 200, 200, 302, 404, 503, 700} {
		var c balancer.Choice
		p.Pick(&c, &balancer.Request{Now: at + 10_000 + int64(i), Visitor: uint64(i + 1)})
		p.Done(&c, balancer.Outcome{
			Now: at + 10_100 + int64(i), Status: status, BytesIn: 100, BytesOut: 12_345, Queue: time.Duration(i) * time.Millisecond,
			Connect: time.Millisecond, Response: time.Duration(i) * 3 * time.Millisecond, Total: time.Duration(i) * 7 * time.Millisecond, Reused: i%2 == 1,
		})
	}
	for i, r := range []balancer.Result{balancer.ConnectFailed, balancer.ResponseFailed, balancer.ClientAborted, balancer.ServerAborted} {
		var c balancer.Choice
		p.Pick(&c, &balancer.Request{Now: at + 11_000, Visitor: uint64(i + 20), Cookie: []byte("not a cookie")})
		p.Done(&c, balancer.Outcome{Now: at + 11_500, Result: r, Retried: i == 0, Detail: "connection refused"})
	}
	f := &listen.Traffic{Name: "https", Addr: "127.0.0.1:443"}
	for i, status := range []int{101, 200, 200, 302, 404, 503, 700} {
		f.Open(time.UnixMilli(at + 10_000))
		f.Count(&account.Record{Kept: account.Kept{At: time.UnixMilli(at + 10_000), Proto: []string{"HTTP/1.1", "HTTP/2.0"}[i%2], Status: status, BytesIn: 100, BytesOut: 12_345}})
	}
	f.Conns.Add(-3)
	f.Denied.Add(2)
	f.Bad.Add(1)
	f.H1.Add(4)
	return f, p
}

// TestFiguresAreAsRecorded holds JSON, CSV and metrics of one traffic to what they were: they are one reading of one snapshot.
func TestFiguresAreAsRecorded(t *testing.T) {
	e := start(t, nil)
	front, pool := traffic(t)
	now := recorded.Add(-40 * time.Second).UnixMilli()
	e.snap.At = recorded
	e.snap.Frontends = append(e.snap.Frontends[:0], front.Snapshot(2000, now))
	e.snap.Pools = append(e.snap.Pools[:0], pool.Snapshot(now))

	_, text := e.request("GET", "/v1/stats", e.tokens["admin"], "")
	asRecorded(t, "figures.json", figuresOf(t, []byte(text)))
	var read api.Stats // as portico stats --json prints it
	if err := json.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	asRecorded(t, "figures.json", figuresOf(t, again))

	_, text = e.request("GET", "/stats;csv", e.tokens["admin"], "")
	asRecorded(t, "figures.csv", []byte(text))

	_, text = e.request("GET", "/metrics", e.tokens["admin"], "")
	lines := slices.DeleteFunc(strings.SplitAfter(text, "\n"), func(l string) bool {
		return !strings.HasPrefix(l, "portico_frontend") && !strings.HasPrefix(l, "portico_pool") && !strings.HasPrefix(l, "portico_upstream")
	})
	slices.Sort(lines)
	asRecorded(t, "figures.prom", []byte(strings.Join(lines, "")))
}

// figuresOf are the front ends and pools of an answer of GET /v1/stats, a value a line.
func figuresOf(t *testing.T, answer []byte) []byte {
	t.Helper()
	var in struct{ Frontends, Pools json.RawMessage }
	if err := json.Unmarshal(answer, &in); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// asRecorded compares with a file of testdata.
func asRecorded(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run go test -update and read the difference", path)
	}
}
