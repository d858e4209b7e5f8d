package haproxy

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"portico/balancer/figures"
	"portico/conf/sites"
)

// Columns are the names of HAProxy 3.4's statistics, in its order, which never
// changes: new ones are only appended. "src_ilim" is spelled as HAProxy spells
// it.
func Columns() []string { return strings.Split(columns, ",") }

const columns = "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck," +
	"chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code," +
	"check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt," +
	"comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration," +
	"check_desc,agent_desc,check_rise,check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate," +
	"conn_rate_max,conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max," +
	"rtime_max,ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status," +
	"agg_server_check_status,agg_check_status,srid,sess_other,h1sess,h2sess,h3sess,req_other,h1req,h2req,h3req,proto,priv_idle_cur," +
	"reqbin,reqbout,resbin,resbout"

// The values of the column type.
const (
	typeFrontend = 0
	typeBackend  = 1
	typeServer   = 2
)

// row is one line by column name; what is not in it stays empty, which means
// that it does not apply.
type row map[string]string

func (r row) uint(name string, v uint64) { r[name] = strconv.FormatUint(v, 10) }
func (r row) int(name string, v int)     { r[name] = strconv.Itoa(v) }
func (r row) limit(name string, v int) {
	if v > 0 {
		r[name] = strconv.Itoa(v)
	}
}
func (r row) rate(name string, v float64)         { r[name] = strconv.FormatFloat(math.Round(v), 'f', 0, 64) }
func (r row) millis(name string, d time.Duration) { r[name] = strconv.FormatInt(d.Milliseconds(), 10) }
func (r row) seconds(name string, d time.Duration) {
	r[name] = strconv.FormatInt(int64(d/time.Second), 10)
}

// WriteCSV writes a snapshot as HAProxy writes its statistics: the header
// behind "# ", a comma after every value, also the last; a FRONTEND line for
// each listener, then for each pool its servers and a BACKEND line. Columns
// that portico does not count stay empty and in their place.
//
// Here as on HAProxy's page a session is a request at a server and a
// connection at a frontend. Visitors' sessions are portico's own and not in it.
func WriteCSV(w io.Writer, s figures.Proxy) error {
	out := bufio.NewWriter(w)
	names := Columns()
	_, _ = out.WriteString("# " + columns + ",\n") // errors come out of Flush
	for i := range s.Frontends {
		writeRow(out, names, frontendRow(&s.Frontends[i], i+1))
	}
	for i := range s.Pools {
		p := &s.Pools[i]
		iid := len(s.Frontends) + i + 1
		for j := range p.Upstreams {
			writeRow(out, names, serverRow(p, &p.Upstreams[j], iid, j+1, s.At))
		}
		writeRow(out, names, backendRow(p, iid, s.At))
	}
	return out.Flush()
}

func writeRow(out *bufio.Writer, names []string, r row) {
	for _, name := range names {
		_, _ = out.WriteString(csvField(r[name]) + ",") // errors come out of Flush
	}
	_ = out.WriteByte('\n') // likewise
}

// csvField quotes as HAProxy does, and keeps a value on its line: names are
// checked where they are made, and this is no place to trust that.
func csvField(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	if strings.ContainsAny(s, "\",") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

func frontendRow(f *figures.Frontend, iid int) row {
	r := row{"pxname": f.Name, "svname": "FRONTEND", "status": "OPEN", "mode": "http", "pid": "1", "sid": "0", "rate_lim": "0"}
	r.int("type", typeFrontend)
	r.int("iid", iid)
	r.int("scur", f.Conns)
	r.int("smax", f.ConnsMax)
	r.limit("slim", f.ConnsLimit)
	r.uint("stot", f.ConnTotal)
	r.uint("bin", f.BytesIn)
	r.uint("bout", f.BytesOut)
	r.uint("dreq", f.Denied)
	r.uint("ereq", f.Errors)
	r.uint("dcon", f.DeniedConns)
	r.uint("intercepted", f.Intercepted)
	r.rate("rate", f.ConnRate)
	r.rate("rate_max", f.ConnRateMax)
	r.rate("conn_rate", f.ConnRate)
	r.rate("conn_rate_max", f.ConnRateMax)
	r.uint("conn_tot", f.ConnTotal)
	r.rate("req_rate", f.ReqRate)
	r.rate("req_rate_max", f.ReqRateMax)
	r.uint("req_tot", f.Requests)
	r.responses(&f.Responses)
	for i, v := range []uint64{f.H1Sessions, f.H2Sessions, 0} {
		r.uint("h"+strconv.Itoa(i+1)+"sess", v)
	}
	for i, v := range []uint64{f.H1Requests, f.H2Requests, 0} {
		r.uint("h"+strconv.Itoa(i+1)+"req", v)
	}
	return r
}

func (r row) responses(n *figures.Responses) {
	r.uint("hrsp_1xx", n.Status1xx)
	r.uint("hrsp_2xx", n.Status2xx)
	r.uint("hrsp_3xx", n.Status3xx)
	r.uint("hrsp_4xx", n.Status4xx)
	r.uint("hrsp_5xx", n.Status5xx)
	r.uint("hrsp_other", n.StatusOther)
}

// counters are the columns that servers and backends share.
func (r row) counters(f *figures.Traffic, sum *figures.Totals, at time.Time) {
	r.uint("stot", f.Total)
	r.uint("bin", f.BytesIn)
	r.uint("bout", f.BytesOut)
	r.uint("econ", sum.ConnectErrors)
	r.uint("eresp", sum.ResponseErrors)
	r.uint("wretr", sum.Retries)
	r.uint("wredis", sum.Redispatches)
	r.uint("lbtot", sum.Picked)
	r.rate("rate", f.Rate)
	r.rate("rate_max", f.RateMax)
	r.responses(&sum.Responses)
	r.uint("req_tot", f.Total)
	r.uint("cli_abrt", sum.ClientAborts)
	r.uint("srv_abrt", sum.ServerAborts)
	r.uint("connect", sum.Connects)
	r.uint("reuse", sum.Reuses)
	for name, t := range map[string]*figures.Times{"q": &sum.QueueTime, "c": &sum.ConnectTime, "r": &sum.ResponseTime, "t": &sum.Times} {
		r.millis(name+"time", t.Mean)
		r.millis(name+"time_max", t.Max.Std())
	}
	r["lastsess"] = "-1"
	if !sum.LastUsed.IsZero() {
		r.seconds("lastsess", max(0, at.Sub(sum.LastUsed)))
	}
}

func serverRow(p *figures.Pool, u *figures.Upstream, iid, sid int, at time.Time) row {
	r := row{"pxname": p.Name, "svname": u.Name, "status": u.Status, "mode": "http", "pid": "1", "addr": u.Addr, "cookie": u.Token}
	r.counters(&u.Traffic, &u.Totals, at)
	r.int("qcur", u.Queued)
	r.int("qmax", u.QueuedMax)
	r.int("scur", u.InFlight)
	r.int("smax", u.InFlightMax)
	r.int("type", typeServer)
	r.int("iid", iid)
	r.int("sid", sid)
	r.limit("slim", u.MaxConns)
	r.int("weight", u.Weight)
	r.int("uweight", u.WeightConfigured)
	r.int("act", bit(!u.Backup))
	r.int("bck", bit(u.Backup))
	r.uint("chkfail", u.ChecksFail)
	r.uint("chkdown", u.Downs)
	r.seconds("lastchg", u.LastChange.Std())
	r.seconds("downtime", u.DownTime.Std())
	r.limit("throttle", u.SlowStart)
	r["check_status"] = u.CheckCode
	r.limit("check_code", u.CheckStatus)
	if u.CheckCode != "" {
		r.millis("check_duration", u.CheckTime.Std())
		r["check_desc"] = checkText(u.CheckCode)
		r["last_chk"] = u.CheckDetail
	}
	r.int("check_rise", u.Rise)
	r.int("check_fall", u.Fall)
	r.int("check_health", u.Level)
	r["last_agt"] = u.AgentDetail
	r.int("used_conn_cur", u.InFlight)
	return r
}

func backendRow(p *figures.Pool, iid int, at time.Time) row {
	sum := p.Sum
	for i := range p.Upstreams {
		if at := p.Upstreams[i].LastUsed; at.After(sum.LastUsed) {
			sum.LastUsed = at
		}
	}
	r := row{"pxname": p.Name, "svname": "BACKEND", "status": p.Status, "mode": "http", "pid": "1", "sid": "0", "algo": algorithmName(p.Policy)}
	r.counters(&p.Traffic, &sum, at) // without smax: the peak of a sum is not the sum of peaks
	r.int("qcur", p.Queued)
	r.int("qmax", p.QueuedMax)
	r.int("scur", p.InFlight)
	r.int("type", typeBackend)
	r.int("iid", iid)
	r.int("weight", p.Weight)
	r.int("uweight", p.Weight)
	r.int("act", p.Active)
	r.int("bck", p.Backup)
	r.uint("chkdown", p.Downs)
	r.seconds("lastchg", p.LastChange.Std())
	r.seconds("downtime", p.DownTime)
	return r
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// algorithmName is the balance algorithm as HAProxy's tools know it; portico's
// own policies keep their name.
func algorithmName(policy sites.Policy) string {
	switch policy {
	case sites.PolicyRoundRobin:
		return "roundrobin"
	case sites.PolicyLeastConnections:
		return "leastconn"
	}
	return string(policy)
}

// checkText is HAProxy's sentence for a check's outcome.
func checkText(code string) string {
	switch code {
	case "INI":
		return "Initializing"
	case "SOCKERR":
		return "Socket error"
	case "L4OK":
		return "Layer4 check passed"
	case "L4TOUT":
		return "Layer4 timeout"
	case "L4CON":
		return "Layer4 connection problem"
	case "L6OK":
		return "Layer6 check passed"
	case "L6TOUT":
		return "Layer6 timeout"
	case "L6RSP":
		return "Layer6 invalid response"
	case "L7OK":
		return "Layer7 check passed"
	case "L7TOUT":
		return "Layer7 timeout"
	case "L7RSP":
		return "Layer7 invalid response"
	case "L7STS":
		return "Layer7 wrong status"
	}
	return ""
}
