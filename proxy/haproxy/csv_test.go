package haproxy_test

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"portico/balancer/figures"
	"portico/conf/sites"
	"portico/proxy/haproxy"
)

func stats() figures.Proxy {
	at := time.UnixMilli(1_790_000_000_000)
	times := figures.Times{Mean: 49_500 * time.Microsecond, Max: figures.Millis(99 * time.Millisecond)}
	traffic := figures.Traffic{Total: 1000, BytesIn: 5000, BytesOut: 90000, Rate: 12.4, RateMax: 80}
	totals := figures.Totals{
		Picked: 400, Responses: figures.Responses{Status1xx: 1, Status2xx: 900, Status3xx: 50, Status4xx: 40, Status5xx: 9},
		ConnectErrors: 2, ResponseErrors: 3, Retries: 4, Redispatches: 1, ClientAborts: 5, ServerAborts: 6, Connects: 70, Reuses: 930,
		LastUsed: at.Add(-7 * time.Second), Times: times, ConnectTime: times,
	}
	one := figures.Upstream{
		ID: id("a"), Name: "app-1", Member: "app-1", Addr: "10.0.0.1:7444", Token: "k7kdsufmey", Release: digest("b"), State: figures.Up, Status: "UP",
		InRotation: true, LastChange: figures.Millis(90 * time.Second), DownTime: figures.Millis(4 * time.Second), ChecksFail: 2, Downs: 1, CheckCode: "L7OK", CheckStatus: 200,
		CheckTime: figures.Millis(3 * time.Millisecond), Rise: 2, Fall: 3, Level: 4, Weight: 100, WeightConfigured: 100, InFlight: 5, InFlightMax: 9, MaxConns: 200,
		Traffic: traffic, Totals: totals,
	}
	two := figures.Upstream{
		ID: id("b"), Name: `odd "name", with`, Backup: true, State: figures.Down, Status: "DOWN 1/2", CheckCode: "L7STS", CheckStatus: 500,
		CheckDetail: "wrong\nstatus", Rise: 2, Fall: 3, Level: 1, AgentDetail: "exit status 1",
	}
	p := figures.Pool{Name: "shop", Policy: sites.PolicyRoundRobin, Status: "UP", Upstreams: []figures.Upstream{one, two},
		LastChange: figures.Millis(time.Hour), Active: 1, Weight: 100, InFlight: 5, Queued: 2, QueuedMax: 7, Traffic: traffic, Sum: totals}
	return figures.Proxy{At: at, Frontends: []figures.Frontend{{
		Name: "https", Addr: ":443", Conns: 3, ConnsMax: 10, ConnsLimit: 2000, ConnTotal: 50, ConnRate: 1, ConnRateMax: 4, Requests: 1000, ReqRate: 12.4,
		ReqRateMax: 80, BytesIn: 5000, BytesOut: 90000, Denied: 1, Errors: 2, Responses: figures.Responses{Status2xx: 900}, H1Sessions: 20, H2Sessions: 30, H1Requests: 400, H2Requests: 600,
	}}, Pools: []figures.Pool{p}}
}

func writeCSV(t *testing.T, s figures.Proxy) string {
	t.Helper()
	var b bytes.Buffer
	if err := haproxy.WriteCSV(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCSVGolden(t *testing.T) { golden(t, "stats.csv", []byte(writeCSV(t, stats()))) }

// TestCSVShape is what parsers in the field rely on (T42): the header first and
// behind "# ", 118 names in HAProxy's order, a comma after the last value.
func TestCSVShape(t *testing.T) {
	names := haproxy.Columns()
	if len(names) != 118 || names[0] != "pxname" || names[17] != "status" || names[32] != "type" || names[73] != "addr" ||
		names[89] != "src_ilim" || names[101] != "agg_server_check_status" || names[105] != "h1sess" || names[117] != "resbout" {
		t.Fatalf("%d columns: %v", len(names), names)
	}
	text := writeCSV(t, stats())
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if !strings.HasPrefix(lines[0], "# pxname,svname,qcur,") || !strings.HasSuffix(lines[0], ",resbout,") {
		t.Errorf("header %q", lines[0])
	}
	for _, line := range lines {
		if !strings.HasSuffix(line, ",") {
			t.Errorf("no comma at the end of %q", line)
		}
	}
	rows := parse(t, text)
	var order []string
	for _, r := range rows {
		order = append(order, r["pxname"]+"/"+r["svname"]+"/"+r["type"])
	}
	want := `https/FRONTEND/0 shop/app-1/2 shop/odd "name", with/2 shop/BACKEND/1`
	if strings.Join(order, " ") != want {
		t.Errorf("rows %q, want %q", strings.Join(order, " "), want)
	}
	for name, want := range map[string]string{
		"status": "UP", "scur": "5", "smax": "9", "slim": "200", "stot": "1000", "bin": "5000", "bout": "90000", "econ": "2", "eresp": "3", "wretr": "4", "wredis": "1",
		"weight": "100", "act": "1", "bck": "0", "chkfail": "2", "chkdown": "1", "lastchg": "90", "downtime": "4", "lbtot": "400", "check_status": "L7OK",
		"check_code": "200", "check_duration": "3", "hrsp_2xx": "900", "hrsp_5xx": "9", "lastsess": "7", "ttime": "49", "ttime_max": "99", "addr": "10.0.0.1:7444",
		"cookie": "k7kdsufmey", "mode": "http", "check_rise": "2", "check_health": "4", "rate": "12", "rate_max": "80", "comp_in": "", "tracked": "",
	} {
		if got := rows[1][name]; got != want {
			t.Errorf("server %s = %q, want %q", name, got, want)
		}
	}
	if b := rows[3]; b["qcur"] != "2" || b["act"] != "1" || b["algo"] != "roundrobin" || b["stot"] != "1000" || b["type"] != "1" {
		t.Errorf("backend %v", b)
	}
	if f := rows[0]; f["status"] != "OPEN" || f["slim"] != "2000" || f["req_tot"] != "1000" || f["h2sess"] != "30" || f["qcur"] != "" {
		t.Errorf("frontend %v", f)
	}
}

// parse reads the text back as a monitoring tool does: by name.
func parse(t *testing.T, text string) []map[string]string {
	t.Helper()
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# ")))
	records, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, rec := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = rec[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// FuzzCSV: whatever a name holds, a line stays one line with as many values as
// the header has.
func FuzzCSV(f *testing.F) {
	f.Add("shop", "app-1", "ok")
	f.Add("a,b", "c\"d", "line\nbreak")
	f.Add("\r\n# x", "", "\x00\x1b[0m")
	f.Fuzz(func(t *testing.T, pool, server, detail string) {
		s := stats()
		s.Pools[0].Name, s.Pools[0].Upstreams[0].Name, s.Pools[0].Upstreams[0].CheckDetail = pool, server, detail
		s.Pools[0].Upstreams[0].Status, s.Frontends[0].Name = detail, server
		text := writeCSV(t, s)
		if n := strings.Count(text, "\n"); n != 5 {
			t.Fatalf("%d lines: %q", n, text)
		}
		for _, row := range parse(t, text) {
			if len(row) != 119 { // with the nameless one behind the last comma
				t.Fatalf("%d values", len(row))
			}
		}
	})
}
