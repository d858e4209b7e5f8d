package admin_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// Any viewer read the values of a site's environment, and the audit kept them. Only who may
// change a site's settings reads them, one site at a time.
func TestEnvironmentIsHidden(t *testing.T) {
	e := start(t, nil)
	const secret = "env-secret-"
	begun := ""
	before := *shared.View().Sites["shop"]
	t.Cleanup(func() { // others read the same records
		e.update(func(tx *catalog.Tx) error {
			s, err := tx.Site("shop")
			tx.DeleteRelease("shop", s.Release)
			tx.DeleteDeploy(begun)
			return errors.Join(err, tx.PutSite(before))
		})
	})
	e.update(func(tx *catalog.Tx) error {
		s, err := tx.Site("shop")
		if err != nil {
			return err
		}
		s.Manifest.Env = map[string]string{"PASSWORD": secret + "1"}
		s.Override = json.RawMessage(`{"env":{"KEY":"` + secret + `2"}}`)
		r, err := tx.Release("shop", s.Release)
		if err != nil {
			return err
		}
		r.Manifest.Env = s.Manifest.Env
		return errors.Join(tx.PutSite(s), tx.PutRelease(r))
	})
	set := func(patch string) (*http.Response, string) {
		return e.request("POST", "/v1/sites/shop", e.tokens["operator"], patch)
	}
	if resp, body := set(`{"env":{"MORE":"` + secret + `3","KEY":null},"policy":"first"}`); resp.StatusCode != 200 || strings.Contains(body, secret) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	e.update(func(tx *catalog.Tx) error { // the processes with the new environment have come up
		s, err := tx.Site("shop")
		if err != nil {
			return err
		}
		begun = s.Deploy
		_, err = command.PromoteDeploy(tx, begun, time.Now())
		return err
	})
	if resp, body := set(`{"env":{"MORE":"(hidden)"}}`); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "env.MORE") {
		t.Errorf("what stands for a value was stored: %d %s", resp.StatusCode, body)
	}
	if resp, body := set(`{"env":{"A B":"` + secret + `4"}}`); resp.StatusCode != http.StatusBadRequest || strings.Contains(body, secret) {
		t.Errorf("a refusal tells the value: %d %s", resp.StatusCode, body)
	}
	for _, role := range roles {
		for _, path := range []string{"/v1/sites", "/v1/sites/shop", "/v1/sites/shop/releases", "/stats/sites/shop", "/stats", "/stats;json", "/v1/stats", "/v1/deploys", "/v1/audit", "/v1/export/haproxy", "/metrics"} {
			_, body := e.request("GET", path, e.tokens[role], "")
			shown := strings.Contains(body, secret)
			may := path == "/v1/sites/shop" && (role == "operator" || role == "admin")
			if shown != may {
				t.Errorf("%s reads %s: the values are there: %v", role, path, shown)
			}
			if path == "/v1/sites/shop" && !may && (!strings.Contains(body, `"PASSWORD":"(hidden)"`) || !strings.Contains(body, `"MORE":"(hidden)"`)) {
				t.Errorf("%s does not see which values are set: %s", role, body)
			}
		}
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+e.tokens["operator"])) // may not change anything, so it does not read them
	resp, body := e.request("GET", "/v1/sites/shop", "", "", "Authorization", basic)
	if resp.StatusCode != 200 || strings.Contains(body, secret) {
		t.Errorf("by Basic: %d %s", resp.StatusCode, body)
	}
	entries, err := shared.Audit(context.Background(), 50)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, entry := range entries {
		if strings.Contains(entry.Detail, secret) {
			t.Errorf("the audit tells a value: %+v", entry)
		}
		found = found || strings.Contains(entry.Detail, `"MORE":"(hidden)"`) && strings.Contains(entry.Detail, `"policy":"first"`)
	}
	if !found {
		t.Error("the audit does not tell which settings were changed")
	}
	if strings.Contains(e.log.String(), secret) {
		t.Error("the log tells a value")
	}
}
