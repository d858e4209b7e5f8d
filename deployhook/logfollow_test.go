package deployhook_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portico/deployhook"
	"portico/deployhook/logs"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// TestLogsOutliveTheirAgent: who follows a site's log is told once that a server's cannot be read. When it can, the lines of meanwhile
// come, and none twice.
func TestLogsOutliveTheirAgent(t *testing.T) {
	at := time.Now().UTC().Truncate(time.Second)
	line := func(second int, text string) string {
		b, _ := json.Marshal(messages.LogLine{At: at.Add(time.Duration(second) * time.Second), Release: "3f2a9c", Instance: "one", Text: text})
		return string(b) + "\n"
	}
	var asked atomic.Int64
	since := make(chan string, 10)
	agents := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		since <- r.FormValue("since") + " " + r.FormValue("lines")
		switch asked.Add(1) {
		case 1: // an agent that is told to stop ends it in order
			fmt.Fprint(w, line(0, "tick"), line(10, "tick"), line(10, "tock"))
		case 2, 3:
			http.Error(w, "no", http.StatusServiceUnavailable)
		case 4: // one that dies does not
			fmt.Fprint(w, line(6, "long before"), line(10, "tick"), line(10, "tock"), line(11, "new"))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			fmt.Fprint(w, line(11, "new"), line(12, "last"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	defer agents.Close()
	c := newCluster(t, func(o *deployhook.Options) {
		o.Agent = func(catalog.Member, string) (*http.Client, string, error) { return agents.Client(), agents.URL, nil }
	})
	c.accept("web1")
	c.update(func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "shop"}) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- c.Logs(ctx, write, logs.Query{Site: "shop", Lines: 5, Follow: true}) }()
	var got []string
	for in := bufio.NewScanner(read); in.Scan(); {
		_, text, _ := strings.Cut(in.Text(), " | ")
		if got = append(got, text); text == "last" {
			break
		}
	}
	cancel()
	_ = read.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	want := []string{
		"tick", "tick", "tock", "portico: its log cannot be read: it answers 503 Service Unavailable; its lines come when it can",
		"new", "portico: its log cannot be read: unexpected EOF; its lines come when it can", "last",
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("printed\n%q\nwant\n%q", got, want)
	}
	for i, want := range []string{" 5", at.Add(7*time.Second).Format(time.RFC3339Nano) + " 10000"} {
		if s := <-since; s != want {
			t.Errorf("request %d asks for %q, want %q", i, s, want)
		}
	}
}

// TestOnlyNewLogsOutliveTheirAgent: who asks for new lines only, and has had none yet, gets those
// that were written while the agent was away.
func TestOnlyNewLogsOutliveTheirAgent(t *testing.T) {
	began := time.Now()
	queries := make(chan url.Values, 10)
	agents := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { queries <- r.URL.Query() })) // it ends each in order
	defer agents.Close()
	c := newCluster(t, func(o *deployhook.Options) {
		o.Agent = func(catalog.Member, string) (*http.Client, string, error) { return agents.Client(), agents.URL, nil }
	})
	c.accept("web1")
	c.update(func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "shop"}) })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Logs(ctx, io.Discard, logs.Query{Site: "shop", Follow: true}) }()
	first, second := <-queries, <-queries
	cancel()
	<-ended
	if first.Get("lines") != "0" || first.Has("since") {
		t.Errorf("asked first for %v", first)
	}
	since, err := time.Parse(time.RFC3339Nano, second.Get("since"))
	if err != nil || since.Before(began) || time.Since(since) > time.Minute || second.Get("lines") != "10000" {
		t.Errorf("asked then for %v", second)
	}
}
