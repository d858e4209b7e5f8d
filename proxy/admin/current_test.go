package admin_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/proxy/admin/apiclient"
)

// Every answer tells what revision it was made from and how old that is; ?consistent asks the others first.
func TestAnswersTellTheirView(t *testing.T) {
	e := start(t, nil)
	for _, path := range []string{"/v1/whoami", "/v1/sites?consistent", "/v1/members?consistent=1", "/v1/sites/nosuch"} {
		resp, body := e.request("GET", path, e.tokens["admin"], "")
		revision, err := strconv.ParseInt(resp.Header.Get("Portico-Revision"), 10, 64)
		if err != nil || revision < 1 || resp.Header.Get("Portico-View-Age") != "0.0" {
			t.Errorf("%s: revision %q, age %q: %s", path, resp.Header.Get("Portico-Revision"), resp.Header.Get("Portico-View-Age"), body)
		}
	}
	if resp, _ := e.request("GET", "/v1/sites?consistent=perhaps", e.tokens["admin"], ""); resp.StatusCode != 400 {
		t.Errorf("?consistent=perhaps: %d", resp.StatusCode)
	}
	if resp, _ := e.request("GET", "/v1/whoami", "", ""); resp.Header.Get("Portico-Revision") != "" {
		t.Error("strangers are told the revision")
	}
	c := e.api(e.tokens["admin"])
	if _, err := c.Sites(t.Context()); err != nil || c.Standing().Revision < 1 || c.Standing().Age > 0 {
		t.Errorf("the client says %+v (%v)", c.Standing(), err)
	}
}

// A consistent client asks the proxy to look first; a patient one outlives a proxy that is away.
func TestClientReads(t *testing.T) {
	var asked []string
	away := 1
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI())
		if away--; away >= 0 {
			http.Error(w, `{"error":{"code":"unavailable","message":"starting"}}`, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "[]")
	}))
	defer server.Close()
	c, err := apiclient.New(apiclient.Options{Addr: server.URL, TLS: &tls.Config{InsecureSkipVerify: true}, Token: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Sites(t.Context()); err == nil {
		t.Error("a client that is in a hurry waits")
	}
	away = 2
	if _, err := c.Patient(apiclient.Patience{Absence: time.Minute}).Consistent().Members(t.Context()); err != nil {
		t.Error(err)
	}
	if got := strings.Join(asked, " "); got != "/v1/sites /v1/members?consistent=1 /v1/members?consistent=1 /v1/members?consistent=1" {
		t.Errorf("asked: %s", got)
	}
}
