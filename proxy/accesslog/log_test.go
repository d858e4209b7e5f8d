package accesslog_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/proxy/accesslog"
	"portico/proxy/exchange/account"
	"portico/tests/support/written"
)

func record() *account.Record {
	after := func(d time.Duration) int64 { return int64(time.Hour + d) }
	return &account.Record{
		Kept: account.Kept{
			At: time.Date(2026, 2, 6, 12, 14, 14, 655e6, time.UTC), Client: netip.MustParseAddrPort("10.0.1.2:33317"),
			Frontend: "https", TLS: true, Site: "shop", Member: "m1", Instance: "abcdefghijkl", Proto: "HTTP/1.1", Status: 200, BytesOut: 2750,
			Start: after(0), Routed: after(10 * time.Millisecond), Connected: after(40 * time.Millisecond), FirstByte: after(109 * time.Millisecond),
			End: after(109 * time.Millisecond), State: [4]byte{0, 0, 'V', 'N'}, Retries: 1,
		},
		Method: "GET", Host: "shop.test", Target: "/index.html", Active: 3, SiteReqs: 2, Inflight: 1,
	}
}

// TestHAProxyForm compares with what HAProxy's manual shows for httplog.
func TestHAProxyForm(t *testing.T) {
	got := string(accesslog.AppendHAProxy(nil, record()))
	want := `10.0.1.2:33317 [06/Feb/2026:12:14:14.655] https~ shop/m1-abcdef 10/-1/30/69/109 200 2750 - - --VN 3/3/2/1/+1 0/0 "GET /index.html HTTP/1.1"` + "\n"
	if got != want {
		t.Errorf("got  %s want %s", got, want)
	}
	r := record()
	r.Member, r.Instance = "", "shop/one"
	if got := string(accesslog.AppendHAProxy(nil, r)); !strings.Contains(got, " shop/one ") {
		t.Errorf("an upstream of the configuration file: %s", got)
	}
	r = &account.Record{Kept: account.Kept{At: record().At, Client: record().Client, Frontend: "http", Status: 400, Start: 1, End: 1, State: [4]byte{'P', 'R'}}}
	got = string(accesslog.AppendHAProxy(nil, r))
	want = `10.0.1.2:33317 [06/Feb/2026:12:14:14.655] http http/<NOSRV> -1/-1/-1/-1/0 400 0 - - PR-- 0/0/0/0/0 0/0 "<BADREQ>"` + "\n"
	if got != want {
		t.Errorf("got  %s want %s", got, want)
	}
}

// TestLogRemembersNothingWrong: what the log keeps from one line to the next never shows in another record's line.
func TestLogRemembersNothingWrong(t *testing.T) {
	var out written.Buffer
	l, err := accesslog.New(accesslog.JSON, "-", &out)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	zone := time.FixedZone("", 3600)
	for i := range 500 {
		r := record()
		r.At = r.At.Add(time.Duration(i) * 77 * time.Millisecond)
		if i%5 == 0 {
			r.At = r.At.In(zone)
		}
		r.TLS = i%3 == 0
		r.Instance, r.Member, r.Site = []string{"", "a", "b", "cc"}[i%4], []string{"", "m", "n"}[i%3], []string{"s", "t"}[i%2]
		r.End = r.Start + int64(i)*int64(10*time.Microsecond)
		l.Append(r)
		want.Write(accesslog.AppendJSON(nil, r))
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got, want.String())
	}
	_ = l.Close()
}

// TestLogWritesInPieces: a busy log never makes one long write.
func TestLogWritesInPieces(t *testing.T) {
	var w largest
	l, err := accesslog.New(accesslog.JSON, "-", &w)
	if err != nil {
		t.Fatal(err)
	}
	r := record()
	each := len(accesslog.AppendJSON(nil, r))
	for range 5000 {
		l.Append(r)
	}
	_ = l.Close()
	if w.all != 5000*each || w.most > 64<<10 {
		t.Errorf("%d bytes of %d, %d at once", w.all, 5000*each, w.most)
	}
}

// largest counts what is written to it.
type largest struct{ all, most int }

func (w *largest) Write(p []byte) (int, error) {
	w.all += len(p)
	w.most = max(w.most, len(p))
	return len(p), nil
}

// FuzzLogLine: whatever a request holds, a line is one line, and its JSON reads (L1).
func FuzzLogLine(f *testing.F) {
	f.Add("/a\r\n200 forged", "x\x1b[31m", `"quote"`)
	f.Add("/\xff\xfe", "\u2028", "</script>")
	f.Fuzz(func(t *testing.T, target, host, agent string) {
		r := record()
		r.Target, r.Host, r.UserAgent, r.Site, r.Member = target, host, agent, agent, host
		for name, line := range map[string][]byte{"json": accesslog.AppendJSON(nil, r), "haproxy": accesslog.AppendHAProxy(nil, r)} {
			for i, c := range line {
				if (c < ' ' || c == 0x7f) && (c != '\n' || i != len(line)-1) {
					t.Fatalf("%s: control byte %#x in %q", name, c, line)
				}
			}
			if name == "json" {
				var v map[string]any
				if err := json.Unmarshal(line, &v); err != nil {
					t.Fatalf("%v in %q", err, line)
				}
			} else if strings.Count(string(line), `"`) != 2 {
				t.Fatalf("quotes in %q", line)
			}
		}
	})
}

// blocked is a writer that takes nothing until it is told to.
type blocked struct {
	told  chan struct{}
	lines int
}

func (b *blocked) Write(p []byte) (int, error) {
	<-b.told
	b.lines += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

// TestLogNeverBlocks: a disk that hangs costs lines, counted, and no request.
func TestLogNeverBlocks(t *testing.T) {
	b := &blocked{told: make(chan struct{})}
	l, err := accesslog.New(accesslog.JSON, "-", b)
	if err != nil {
		t.Fatal(err)
	}
	for range 30_000 { // for ever, if one waited for the writer
		l.Append(record())
	}
	close(b.told)
	_ = l.Close()
	_ = l.Close()
	if lost := int(l.Lost()); lost == 0 || b.lines+lost != 30_000 {
		t.Errorf("%d lines, %d lost", b.lines, lost)
	}
}

// TestLogRotation: move the file away, reopen, and no line is lost.
func TestLogRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := accesslog.New(accesslog.HAProxy, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		l.Append(record())
		if i == 4 {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Skip(err) // Windows keeps open files in place
			}
			if err := l.Reopen(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{path + ".1": 5, path: 5} {
		b, err := os.ReadFile(name)
		if err != nil || strings.Count(string(b), "\n") != want {
			t.Errorf("%s: %d lines, %v, want %d", name, strings.Count(string(b), "\n"), err, want)
		}
	}
	if _, err := accesslog.New("apache", "-", nil); err == nil {
		t.Error("an unknown format is taken")
	}
	if _, err := accesslog.New(accesslog.JSON, filepath.Join(path, "x"), nil); err == nil {
		t.Error("a path that cannot be is taken")
	}
}

// TestLogRotationUnderLoad: every line is whole and in one file, also where chunks end within a line.
func TestLogRotationUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, accesslog.AppendJSON(nil, record()), 0o600); err != nil { // so that chunks are not all of one size
		t.Fatal(err)
	}
	l, err := accesslog.New(accesslog.JSON, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 5000 {
				l.Append(record())
			}
		})
	}
	files := []string{path}
	for i := range 5 {
		old := path + "." + strconv.Itoa(i)
		if err := os.Rename(path, old); err != nil {
			t.Log(err) // Windows keeps open files in place
			break
		}
		files = append(files, old)
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want, n := string(accesslog.AppendJSON(nil, record())), 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if n++; line != want {
				t.Fatalf("%s: %q", name, line)
			}
		}
	}
	if n != 10_001-int(l.Lost()) {
		t.Errorf("%d lines, %d lost", n, l.Lost())
	}
}

func BenchmarkLogLine(b *testing.B) {
	l, err := accesslog.New(accesslog.JSON, os.DevNull, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := record()
	b.ReportAllocs()
	for b.Loop() {
		l.Append(r)
	}
}
