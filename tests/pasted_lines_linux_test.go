package tests

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/membership/catalog"
	"portico/tests/harness"
)

// how a line is run where it is not pasted as it is, to end with 0.
type how struct {
	not    string                // why it is not run at all
	at     string                // the machine, where no prompt says it
	before func(*paster)         // what the document takes for granted there
	as     []string              // the placeholders in it, see paster.value
	start  func(*paster, string) // it goes on running
	typed  string                // the answer at a terminal
	until  string                // it is ended with Ctrl-C when it has printed this
	says   string                // what it prints
	after  func(*paster)
}

var pastedLines = map[string]how{
	"README.md: go run ./cmd/portico up": {not: "TestUpShowsASessionThatStays runs up; to build it once more takes minutes"},
	"README.md: make test":               {not: "it runs this test"},
	"README.md: portico proxy":           {start: startFront},
	"README.md: portico agent --join front:7443 --fingerprint sha256:…": {as: []string{"front:7443", "sha256:…"}, start: startServer("server-1")},
	"README.md: portico members":                                        {says: "pending"},
	"README.md: portico accept server-1":                                {after: accepted("server-1")},
	"README.md: portico rollback shop":                                  {before: secondRelease},
	"README.md: portico top":                                            {until: "shop"},
	"README.md: portico export haproxy --out /etc/haproxy/portico":      {as: []string{"/etc/haproxy/portico"}},

	"docs/operations.md: portico proxy":                                          {not: "README's has started it"},
	"docs/operations.md: portico agent --join PROXY:7443 --fingerprint sha256:…": {as: []string{"PROXY:7443", "sha256:…"}, start: startServer("server-2")},
	"docs/operations.md: portico accept NAME --fingerprint 7ce19e42f0a1b2c3":     {before: printedKey, as: []string{"NAME", "7ce19e42f0a1b2c3"}, after: accepted("server-2")},
	"docs/operations.md: portico proxy --join PROXY:7443 --fingerprint sha256:…": {not: "TestThreeProxies and TestTwoProxiesOneCluster join proxies"},
	"docs/operations.md: portico account add anna --role operator --password":    {typed: "a long password\n"},
	"docs/operations.md: curl --cacert ca.pem -T site.zip -H \"Authorization: Bearer $TOKEN\" 'https://PROXY:7443/v1/sites/shop/archive?host=shop.example.com&wait=60s'": {before: forCurl, as: []string{"PROXY:7443"}, says: `"succeeded"`},
	"docs/operations.md: portico deploys cancel shop":                                    {before: stuckDeploy},
	"docs/operations.md: portico logs shop -f":                                           {until: "listens on"},
	"docs/operations.md: portico logs shop --release 3f2a9c --since 1h":                  {before: aRelease("3f2a9c"), as: []string{"3f2a9c"}, says: "listens on"},
	"docs/operations.md: portico accept app-1 --label zone-a":                            {before: startThird, after: accepted("app-1")},
	"docs/operations.md: portico sites set crm servers=zone-b,server-1":                  {before: withCRM},
	"docs/operations.md: portico revoke app-1 --reason stolen --yes":                     {after: everywhere},
	"docs/operations.md: portico drain shop/fx3k":                                        {before: instanceID, as: []string{"fx3k"}},
	"docs/operations.md: portico drain shop@9f2c41 --now":                                {before: formerRelease, as: []string{"9f2c41"}, typed: "y\n"},
	"docs/operations.md: portico maint server-2":                                         {typed: "y\n"},
	"docs/operations.md: portico sessions shop --cookie \"$COOKIE\"":                     {before: session},
	"docs/operations.md: portico sessions end shop 8f3b2c1d00a94e57":                     {as: []string{"8f3b2c1d00a94e57"}, typed: "y\n"},
	"docs/operations.md: portico sessions move shop 8f3b2c1d00a94e57":                    {before: session, as: []string{"8f3b2c1d00a94e57"}, typed: "y\n"},
	"docs/operations.md: install portico /usr/local/bin/portico":                         {not: "it writes outside; TestTakeOver replaces the program"},
	"docs/operations.md: systemctl kill --kill-whom=main --signal=SIGUSR2 portico-proxy": {not: "no service manager here; TestTakeOver sends the signal, TestUnits reads the units"},
	"docs/operations.md: systemctl restart portico-agent":                                {not: "no service manager here; TestUnits"},
	"docs/operations.md: systemctl stop portico-agent":                                   {not: "no service manager here; TestUnits"},
	"docs/operations.md: portico agent stop --sites":                                     {at: "server-1"},
	"docs/operations.md: portico restore cluster.backup --dir NEW --key catalog.key":     {before: copiedKey, says: "portico proxy"},

	"docs/sessions.md: PORTICO_TEST_RACE=0 go test ./tests -run TestFiveHundredVisitors -v": {not: "another test, of a minute"},
	"docs/sessions.md: PORTICO_SOAK_FOR=2h make soak":                                       {not: "two hours"},

	"docs/haproxy.md: portico export haproxy":                                                                                                        {says: "backend "},
	"docs/haproxy.md: portico export haproxy --out /etc/haproxy/portico":                                                                             {as: []string{"/etc/haproxy/portico"}},
	"docs/haproxy.md: portico export haproxy --out /etc/haproxy/portico --watch --reload 'systemctl reload haproxy'":                                 {as: []string{"/etc/haproxy/portico"}, before: standInSystemctl, until: "called with reload haproxy"},
	"docs/haproxy.md: echo 'CONFIG=\"/etc/haproxy/portico/haproxy.cfg\"' >> /etc/default/haproxy":                                                    {as: []string{"/etc/haproxy/portico", "/etc/default/haproxy"}},
	"docs/haproxy.md: systemctl restart haproxy":                                                                                                     {not: "no service manager here"},
	"docs/haproxy.md: curl --cacert ca.pem -H \"Authorization: Bearer $TOKEN\" 'https://PROXY:7443/stats;csv'":                                       {as: []string{"PROXY:7443"}, says: "# pxname,svname,"},
	"docs/api.md: curl --cacert ca.pem -H \"Authorization: Bearer $PORTICO_TOKEN\" https://proxy.example.com:7443/v1/sites":                          {as: []string{"proxy.example.com:7443"}, says: `"shop"`},
	"docs/api.md: curl --cacert ca.pem -H \"Authorization: Bearer $PORTICO_TOKEN\" -T site.zip https://proxy.example.com:7443/v1/sites/shop/archive": {as: []string{"proxy.example.com:7443"}, says: `"deploy"`},
	"docs/joining.md: portico deploy crm crm.war --host crm.example.com --path /crm":                                                                 {before: war},
	"docs/joining.md: portico export haproxy --out /etc/haproxy/portico":                                                                             {as: []string{"/etc/haproxy/portico"}},
}

// pastedFiles are the blocks that are no commands, by their first line: what is done with each. Other
// blocks that look like a configuration are a site's.
var pastedFiles = map[string]func(*paster, []string){
	"docs/operations.md: [catalog]":       processFile,
	"docs/sessions.md: TOKEN|ISSUED|SEAL": cookieParts,
	"docs/sessions.md: server-1 was switched off: 295 of 500 visitors were on it and lost their counters; told: map[node member-failed:113 php member-failed:133 tomcat member-failed:49]": printedOnce,
	`docs/api.md: {"error": {"code": "forbidden", "message": "this needs the role operator, and \"ci\" has deployer", "hint": "ask an administrator for an account with that role"}}`:      errorAnswer,
	`docs/api.md: {"action": "maint", "object": "app-1", "sessions": 142, "recent": 37, "keeps": 0, "in_flight": 5, "left": 2, "instances": [...],`:                                        forecastAnswer,
	"docs/joining.md: # portico.toml of the agent": processFile,
	`docs/joining.md:    [[site]]`:                 processFile,
}

const server = `const http = require("http")
let views = 0
http.createServer((q, a) => {
  a.setHeader("content-type", "application/json")
  a.end(JSON.stringify({server: process.env.PORTICO_MEMBER, views: q.url === "/healthz" ? views : ++views}))
}).listen(process.env.PORT, "127.0.0.1", () => console.log("it listens on " + process.env.PORT))
`

const manifest = "run = [\"node\", \"server.js\"]\n[health]\npath = \"/healthz\"\ninterval = \"500ms\"\n"

func startFront(p *paster, line string) {
	p.t.Helper()
	f := &harness.Proxy{Dir: harness.TempDir(p.t), HTTP: harness.Addr(p.t), HTTPS: harness.Addr(p.t), Admin: harness.Addr(p.t)}
	replication := harness.Addr(p.t)
	p.more["front"] = []string{
		"PORTICO_DIR=" + f.Dir, "PORTICO_PROXY_NAME=front", "PORTICO_PROXY_HTTP=" + f.HTTP, "PORTICO_PROXY_HTTPS=" + f.HTTPS,
		"PORTICO_ADMIN_ADDRESS=" + f.Admin, "PORTICO_CATALOG_ADDRESS=" + replication, "PORTICO_GOSSIP_ADDRESS=" + harness.Addr(p.t),
	}
	f.Process = harness.StartIn(p.t, []string{"sh", "-c", "exec " + line}, "front", append(p.env, p.more["front"]...))
	p.front = f
	f.WaitReady()
	if c, err := net.Dial("tcp", replication); err == nil {
		_ = c.Close()
		p.t.Error("a proxy alone listens for others that replicate")
	}
	p.more[""] = []string{"PORTICO_DIR=" + f.Dir} // where nothing is said, commands are the operator's
	for _, name := range []string{"front:7443", "PROXY:7443", "proxy.example.com:7443"} {
		p.value[name] = f.Admin
	}
	p.value["sha256:…"] = f.Fingerprint()
	p.value["/etc/haproxy/portico"] = filepath.Join(p.here, "haproxy")
	p.value["/etc/default/haproxy"] = filepath.Join(p.here, "default-haproxy")
	harness.Eventually(p.t, time.Minute, logged(f.Process, f.Fingerprint()))
}

func startServer(name string) func(*paster, string) {
	return func(p *paster, line string) {
		p.t.Helper()
		dir := harness.TempDir(p.t)
		p.more[name] = []string{
			"PORTICO_DIR=" + dir, "PORTICO_AGENT_NAME=" + name, "PORTICO_AGENT_ADDRESS=" + harness.Addr(p.t), "PORTICO_GOSSIP_ADDRESS=" + harness.Addr(p.t),
		}
		pre := []string{"sh", "-c", "exec " + line}
		harness.StartIn(p.t, pre, name, append(p.env, p.more[name]...), "agent", "--dir", dir) // the shell takes its line alone
		p.front.WaitMember(name, catalog.Pending)
	}
}

func startThird(p *paster) {
	startServer("app-1")(p, "portico agent --join "+p.front.Admin+" --fingerprint "+p.front.Fingerprint())
}

func accepted(name string) func(*paster) {
	return func(p *paster) {
		p.t.Helper()
		p.front.WaitMember(name, catalog.Accepted)
	}
}

func printedKey(p *paster) {
	p.value["NAME"] = "server-2"
	for _, m := range p.front.Members() {
		if m.Name == "server-2" {
			p.value["7ce19e42f0a1b2c3"] = m.Fingerprint[:16]
		}
	}
}

// visited looks at the site as a visitor.
func visited(p *paster) {
	p.t.Helper()
	v := harness.NewVisitor(p.t, p.front.HTTP, "shop.example.com")
	harness.Eventually(p.t, time.Minute, func() error {
		_, _, err := visitOK(v, "/")
		return err
	})
}

// release installs the site in folder once more, with something new in it.
func (p *paster) release(mark string) {
	p.t.Helper()
	p.file("folder/mark", mark)
	p.front.Must("deploy", "shop", filepath.Join(p.here, "folder"), "--host", "shop.example.com")
}

func secondRelease(p *paster) {
	p.front.Must("ready", "server-1")
	p.release("second")
}

func forCurl(p *paster) {
	p.t.Helper()
	ca, err := os.ReadFile(filepath.Join(p.front.Dir, "identity", "ca.pem"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.file("ca.pem", string(ca))
	token := p.front.ClientFile().Token
	p.more[""] = append(p.more[""], "TOKEN="+token, "PORTICO_TOKEN="+token)
	zipFolder(p.t, filepath.Join(p.here, "folder"), filepath.Join(p.here, "site.zip"))
}

// stuckDeploy leaves a deploy that goes on.
func stuckDeploy(p *paster) {
	p.t.Helper()
	slow := filepath.Join(p.here, "slow")
	if err := os.Mkdir(slow, 0o755); err != nil {
		p.t.Fatal(err)
	}
	p.file("slow/server.js", server)
	p.file("slow/portico.toml", strings.Replace(manifest, "/healthz", "/\"\nstatus = \"404", 1))
	p.front.Must("deploy", "shop", slow, "--host", "shop.example.com", "--detach")
}

func withCRM(p *paster) {
	p.front.Must("deploy", "crm", filepath.Join(p.here, "folder"), "--host", "crm.example.com")
}

// everywhere takes back what the part on labels has set.
func everywhere(p *paster) {
	p.front.Must("sites", "set", "shop", "servers=")
	p.front.Must("sites", "set", "crm", "servers=")
	settled(p.t, p.front, "shop", 2)
}

func (p *paster) instances() (list []struct{ ID, Member, Release, Status string }) {
	p.t.Helper()
	var s struct {
		Pools []struct {
			Name      string
			Upstreams []struct{ ID, Member, Release, Status string }
		}
	}
	p.front.JSON(&s, "stats", "--json")
	for _, pool := range s.Pools {
		if pool.Name == "shop" {
			return pool.Upstreams
		}
	}
	p.t.Fatal("shop has no pool")
	return nil
}

func instanceID(p *paster) {
	for _, u := range p.instances() {
		if u.Member == "server-1" && strings.HasPrefix(u.Status, "UP") {
			p.value["fx3k"] = u.ID
		}
	}
}

// aRelease has a name stand for the beginning of a release that runs.
func aRelease(name string) func(*paster) {
	return func(p *paster) {
		p.t.Helper()
		for _, u := range p.instances() {
			if strings.HasPrefix(u.Status, "UP") { // one of a deploy that was called off has logged nothing
				p.value[name] = u.Release[:6]
			}
		}
	}
}

// formerRelease leaves a release to which a session is pinned.
func formerRelease(p *paster) {
	p.t.Helper()
	p.front.Must("ready", "shop/"+p.value["fx3k"])
	p.front.Must("ready", "server-2")
	settled(p.t, p.front, "shop", 2)
	visited(p)
	aRelease("9f2c41")(p)
	p.release("the next")
}

// session is a visitor with the cookie COOKIE.
func session(p *paster) {
	p.t.Helper()
	v := harness.NewVisitor(p.t, p.front.HTTP, "shop.example.com")
	v.Get("/")
	cookie := v.Cookie("portico-shop")
	p.more[""] = append(p.more[""], "COOKIE="+cookie)
	var found struct{ Sessions []struct{ ID string } }
	p.front.JSON(&found, "sessions", "shop", "--cookie", cookie, "--json")
	if len(found.Sessions) != 1 {
		p.t.Fatalf("the cookie %q leads to %+v", cookie, found)
	}
	p.value["8f3b2c1d00a94e57"] = found.Sessions[0].ID
}

func copiedKey(p *paster) {
	p.t.Helper()
	key, err := os.ReadFile(filepath.Join(p.front.Dir, "identity", "catalog.key"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.file("catalog.key", string(key))
}

func standInSystemctl(p *paster) {
	p.t.Helper()
	bin := strings.TrimPrefix(strings.SplitN(p.env[0], ":", 2)[0], "PATH=")
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte("#!/bin/sh\necho called with \"$@\"\n"), 0o755); err != nil {
		p.t.Fatal(err)
	}
}

func war(p *paster) {
	harness.Need(p.t, "java")
	zipFolder(p.t, filepath.Join(harness.App("tomcat"), "counter"), filepath.Join(p.here, "crm.war"))
}

// siteFile has the program read the block as an archive's portico.toml.
func siteFile(p *paster, block []string) {
	p.t.Helper()
	dir, err := os.MkdirTemp(p.here, "site")
	if err != nil {
		p.t.Fatal(err)
	}
	for name, text := range map[string]string{"portico.toml": strings.Join(block, "\n"), "server.js": server, "Shop": "#!/bin/sh\n", "calls": "#!/bin/sh\n", "deploy/install.sh": "#!/bin/sh\n"} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o755)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.front.Must("deploy", "example", dir, "--host", "example.test", "--dry-run")
}

// processFile has the program read the block as a process's configuration. Files that it names are there.
func processFile(p *paster, block []string) {
	p.t.Helper()
	text := strings.Join(block, "\n")
	for name, own := range map[string]string{"etcd-ca.pem": "ca.pem", "etcd-client.pem": "certificate.pem", "etcd-client.key": "key.pem", "tomcat-password": "ca.pem"} {
		text = strings.ReplaceAll(text, "/etc/portico/"+name, filepath.Join(p.front.Dir, "identity", own))
	}
	p.file("process.toml", text)
	p.front.Must("check", filepath.Join(p.here, "process.toml"))
}

func cookieParts(p *paster, block []string) {
	p.t.Helper()
	v := harness.NewVisitor(p.t, p.front.HTTP, "shop.example.com")
	v.Get("/")
	if got := strings.Split(v.Cookie("portico-shop"), "|"); len(got) != len(strings.Split(block[0], "|")) || len(got[0]) != 10 {
		p.t.Errorf("the cookie is %q, not %s", got, block[0])
	}
}

func printedOnce(*paster, []string) {} // figures of one run

func errorAnswer(p *paster, block []string) {
	p.t.Helper()
	var want, got struct{ Error map[string]string }
	if err := json.Unmarshal([]byte(strings.Join(block, "\n")), &want); err != nil {
		p.t.Fatal(err)
	}
	p.front.Must("account", "add", "looker", "--role", "deployer")
	var made struct{ Token string }
	p.front.JSON(&made, "token", "add", "--account", "looker", "--json")
	c := p.front.ClientFile()
	r := harness.Run(p.t, []string{"PORTICO_ADDR=" + c.Addr, "PORTICO_FINGERPRINT=" + c.Fingerprint, "PORTICO_TOKEN=" + made.Token}, "maint", "server-2", "--yes", "--json")
	if err := json.Unmarshal([]byte(r.Stderr), &got); err != nil {
		p.t.Fatalf("%v: %s", err, r.Stderr)
	}
	want.Error["message"] = strings.ReplaceAll(want.Error["message"], `"ci"`, `"looker"`)
	for key, value := range want.Error {
		if !strings.HasSuffix(got.Error[key], value) {
			p.t.Errorf("%s is %q, and the document says %q", key, got.Error[key], value)
		}
	}
}

func forecastAnswer(p *paster, block []string) {
	p.t.Helper()
	var want, got map[string]any
	if err := json.Unmarshal([]byte(strings.Replace(strings.Join(block, "\n"), "[...]", "[]", 1)), &want); err != nil {
		p.t.Fatal(err)
	}
	p.front.JSON(&got, "maint", "server-2", "--dry-run", "--json")
	for key := range want {
		if _, ok := got[key]; !ok {
			p.t.Errorf("a forecast has no %q: %v", key, got)
		}
	}
}

// zipFolder writes an archive of what lies in a folder.
func zipFolder(t *testing.T, dir, file string) {
	t.Helper()
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(out)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
}
