package proxy_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/balancer/seal"
	"portico/conf"
	"portico/tests/support/written"
)

// The clock jumps by 26 hours under visitors whose cookies are from before: they stay, and the log says it once.
// Without a jump such cookies are long over.
func TestVisitorsOutliveASetClock(t *testing.T) {
	one, _ := origin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "shop/u0") })
	two, _ := origin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "shop/u1") })
	for _, set := range []time.Duration{0, 26 * time.Hour} {
		o := options()
		log := &written.Buffer{}
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
		f := start(t, o, site(one, two))
		f.PretendClockSet(set)
		sealer, err := seal.NewSealer("shop", o.Keys)
		if err != nil {
			t.Fatal(err)
		}
		before, stayed := time.Now().Add(-26*time.Hour).Unix(), 0
		for i := range 20 {
			id := []string{"shop/u0", "shop/u1"}[i%2]
			cookie := sealer.Seal(nil, seal.Cookie{Token: sealer.Token(id), Session: uint64(100 + i), Issued: before, Start: before})
			if _, at := get(t, f.client(), "http://shop.test/", "Cookie", "portico-shop="+string(cookie)); at == id {
				stayed++
			}
		}
		refused := f.Balancer().Pool("shop").Refused[seal.RefusedIdle].Load()
		if told := strings.Count(log.String(), "clock was set"); set == 0 && (told != 0 || refused != 20) || set != 0 && (told != 1 || refused != 0 || stayed != 20) {
			t.Errorf("set by %s: %d of 20 stayed, %d were refused, told %d times: %s", set, stayed, refused, told, log)
		}
	}
}

// Whoever asks the balancer for a time tells it first that the clock was set. Otherwise a drain that asks for the sessions of an
// instance in that moment would find none, and end.
func TestTheClockIsToldToAllWhoAsk(t *testing.T) {
	one, _ := origin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "shop/u0") })
	for what, ask := range map[string]func(f *front){
		"load":     func(f *front) { f.Load("shop/u0") },
		"time":     func(f *front) { f.Now() },
		"snapshot": func(f *front) { f.Snapshot() },
		"pool":     func(f *front) { f.Pool("shop") },
		"recent":   func(f *front) { f.RecentSessions("shop/u0") },
		"keys":     func(f *front) { _ = f.SetKeys(options().Keys) },
		"update":   func(f *front) { f.SetStatic([]conf.Site{site(one)}) },
	} {
		o := options()
		log := &written.Buffer{}
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
		f := start(t, o, site(one))
		f.PretendClockSet(26 * time.Hour)
		ask(f)
		if !strings.Contains(log.String(), "clock was set") {
			t.Errorf("%s: the balancer was not told: %s", what, log)
		}
	}
}
