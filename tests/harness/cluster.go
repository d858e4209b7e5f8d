package harness

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// ClientFile is the client.json that a proxy keeps for local commands.
type ClientFile struct {
	Addr        string `json:"addr"`
	Fingerprint string `json:"fingerprint"`
	Token       string `json:"token"`
}

// ClientFile reads the proxy's client.json.
func (p *Proxy) ClientFile() ClientFile {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.Dir, "client.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	var c ClientFile
	if err := json.Unmarshal(data, &c); err != nil {
		p.t.Fatal(err)
	}
	return c
}

// Members returns what `portico members` lists.
func (p *Proxy) Members() []api.MemberInfo {
	p.t.Helper()
	var list []api.MemberInfo
	p.JSON(&list, "members", "--json")
	return list
}

// JSON runs a client command and decodes what it prints.
func (p *Proxy) JSON(into any, args ...string) {
	p.t.Helper()
	out := p.Must(args...)
	if err := json.Unmarshal([]byte(out), into); err != nil {
		p.t.Fatalf("portico %v printed no JSON: %v\n%s", args, err, out)
	}
}

// WaitMember waits until the member has the admission.
func (p *Proxy) WaitMember(name string, admission catalog.Admission) {
	p.t.Helper()
	Eventually(p.t, time.Minute, func() error {
		for _, m := range p.Members() {
			if m.Name == name {
				if m.Admission == admission {
					return nil
				}
				return fmt.Errorf("%s is %s, not %s", name, m.Admission, admission)
			}
		}
		return fmt.Errorf("%s is not listed", name)
	})
}

// API calls the admin API as the local administrator and returns status and body.
func (p *Proxy) API(method, path string, body io.Reader) (int, string) {
	p.t.Helper()
	return p.APIWith(p.ClientFile().Token, method, path, body)
}

// APIWith is API with a token of the caller's.
func (p *Proxy) APIWith(token, method, path string, body io.Reader) (int, string) {
	p.t.Helper()
	req, err := http.NewRequest(method, "https://"+p.Admin+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := insecureClient().Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// insecureClient trusts any certificate: the tests that use it look at what
// the API says, others look at its certificate.
func insecureClient() *http.Client {
	return &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
}

// AddProxy starts a further proxy of the same cluster, with an invitation, and waits
// until it is ready.
func (p *Proxy) AddProxy(name string, args ...string) *Proxy {
	p.t.Helper()
	code := strings.TrimSpace(p.Must("invite", "--role", "proxy", "--quiet"))
	return StartProxyIn(p.t, TempDir(p.t), name, append([]string{
		"--join", p.Admin, "--fingerprint", p.Fingerprint(), "--code", code,
	}, args...)...)
}
