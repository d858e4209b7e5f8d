package tests

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// TestProxyCutOff: a proxy that was off the network has the whole catalog a moment after it is back,
// however long it was away: it does not wait for TCP to send again. Meanwhile it says since
// when its view is old, and that it takes no changes.
func TestProxyCutOff(t *testing.T) {
	t.Parallel()
	network := harness.NewNet(t)
	hosts := []*harness.Host{network.Host("one"), network.Host("two"), network.Host("three")}
	var all []*harness.Proxy
	for i, h := range hosts {
		p := &harness.Proxy{Dir: harness.TempDir(t), HTTP: h.IP + ":80", Admin: h.IP + ":7443", In: h.Command()}
		args := []string{
			"proxy", "--dir", p.Dir, "--name", fmt.Sprintf("proxy-%d", i+1), "--http", p.HTTP, "--https", "",
			"--admin", p.Admin, "--catalog", h.IP + ":7445", "--gossip", h.IP + ":7946",
		}
		if i > 0 {
			code := strings.TrimSpace(all[0].Must("invite", "--role", "proxy", "--quiet"))
			args = append(args, "--join", all[0].Admin, "--fingerprint", all[0].Fingerprint(), "--code", code)
		}
		p.Process = harness.StartIn(t, h.Command(), args[4], nil, args...)
		p.WaitReady()
		all = append(all, p)
	}
	endQuickly(t, all)
	hasRoles(t, all[0], map[string]string{"proxy-1": "leader", "proxy-2": "voter", "proxy-3": "voter"})

	for n, cut := range cuts() {
		away, there := n%3, (n+1)%3
		hosts[away].Cut()
		<-time.After(cut)
		name := fmt.Sprintf("made-%d", n)
		harness.Eventually(t, time.Minute, func() error {
			if r := all[there].CLI("account", "add", name, "--role", "viewer"); r.Code != 0 {
				return fmt.Errorf("a change by the others: %s", r.Stderr)
			}
			return nil
		})
		if cut > 6*time.Second {
			saysItIsCutOff(t, all[away], hosts[away])
		}
		hosts[away].Mend()
		began := time.Now()
		harness.Eventually(t, time.Minute, func() error {
			if r := all[away].CLI("account", "--json"); !strings.Contains(r.Stdout, name) {
				return fmt.Errorf("an account that the others made is not there: %s%s", r.Stdout, r.Stderr)
			}
			return nil
		})
		took := time.Since(began)
		t.Logf("after a cut of %s proxy-%d was up to date in %s", cut, away+1, took.Round(10*time.Millisecond))
		if harness.Over(took, 8*time.Second) {
			t.Errorf("proxy-%d was up to date only %s after a cut of %s", away+1, took, cut)
		}
		harness.Eventually(t, time.Minute, func() error {
			if r := readiness(t, all[away], hosts[away], ""); !r.Changes.Ready || r.View.OldSince != nil {
				return fmt.Errorf("/readyz after the heal: %+v", r)
			}
			return nil
		})
	}
}

// saysItIsCutOff: traffic goes on, changes do not, and everything that is shown says since when it is old.
func saysItIsCutOff(t *testing.T, p *harness.Proxy, h *harness.Host) {
	t.Helper()
	if r := readiness(t, p, h, ""); r.status != http.StatusOK || !r.Ready || r.Changes.Ready || len(r.Changes.Reasons) == 0 || r.View.OldSince == nil {
		t.Errorf("/readyz of a proxy that is cut off: %+v", r)
	}
	if r := readiness(t, p, h, "?changes"); r.status != http.StatusServiceUnavailable {
		t.Errorf("/readyz?changes of a proxy that is cut off: %+v", r)
	}
	if r := p.CLI("account", "add", "nobody", "--role", "viewer"); r.Code != 1 || !strings.Contains(r.Stderr, "nothing was changed") {
		t.Errorf("a change at a proxy that is cut off: exit %d %s", r.Code, r.Stderr)
	}
	if page := seen(t, p, h, "/stats"); !strings.Contains(page, "may be old: this proxy has not reached the others since") {
		t.Errorf("the page of a proxy that is cut off does not say since when it is old:\n%.3000s", page)
	}
	if out := p.Must("members"); !strings.Contains(out, "This may be old: the proxy that was asked has not reached the others since") {
		t.Errorf("members of a proxy that is cut off:\n%s", out)
	}
}

type ready struct {
	api.Readiness
	status int
}

func readiness(t *testing.T, p *harness.Proxy, h *harness.Host, query string) (r ready) {
	t.Helper()
	var body string
	r.status, body = askAt(t, p, h, "/readyz"+query)
	if err := json.Unmarshal([]byte(body), &r.Readiness); err != nil {
		t.Fatal(err)
	}
	return r
}

// seen returns what the local administrator sees at a path.
func seen(t *testing.T, p *harness.Proxy, h *harness.Host, path string) string {
	t.Helper()
	_, body := askAt(t, p, h, path)
	return body
}

// askAt asks the admin listener of a proxy on a machine that may be cut off.
func askAt(t *testing.T, p *harness.Proxy, h *harness.Host, path string) (status int, body string) {
	t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: h.DialTo(p.Admin), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	req, err := http.NewRequest(http.MethodGet, "https://"+p.Admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.ClientFile().Token)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// cuts are how long proxies are away. TCP alone would take about as long again.
func cuts() []time.Duration {
	var list []time.Duration
	for _, text := range strings.Fields(os.Getenv("PORTICO_TEST_CUTS")) {
		if d, err := time.ParseDuration(text); err == nil {
			list = append(list, d)
		}
	}
	if len(list) == 0 {
		list = []time.Duration{14 * time.Second}
	}
	return list
}
