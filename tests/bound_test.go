package tests

import (
	"net"
	"strings"
	"testing"
	"time"

	"portico/proxy/exchange/exchangetest/rig"
	"portico/tests/harness"
)

// signingApp authenticates connections as Windows authentication does: in two steps, or by a ticket in one.
const signingApp = `'use strict';
require('http').createServer((req, res) => {
  const c = req.socket;
  if (req.url === '/healthz') { res.end('ok'); return; }
  const [scheme, token] = (req.headers.authorization || '').split(' ');
  const [step, name] = Buffer.from(token || '', 'base64').toString().split(' ');
  if (step === 'first') {
    c.begun = true;
    res.writeHead(401, { 'WWW-Authenticate': scheme + ' Y2hhbGxlbmdl', 'Content-Length': 0 });
    res.end();
    return;
  }
  if ((step === 'second' && c.begun) || step === 'ticket') c.who = name;
  if (!c.who) {
    res.writeHead(401, { 'WWW-Authenticate': ['Negotiate', 'NTLM'], 'Content-Length': 0 });
    res.end();
    return;
  }
  res.end('you are ' + c.who);
}).listen(process.env.PORT, process.env.HOST || '127.0.0.1');
`

// TestSignedInConnections: a connection that an application has authenticated belongs to one client through both hops, the proxy's and
// the agent's.
func TestSignedInConnections(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	app := t.TempDir()
	write(t, app, "server.js", signingApp)
	write(t, app, "portico.toml", "run = [\"node\", \"server.js\"]\n[health]\npath = \"/healthz\"\nstatus = \"200\"\ninterval = \"500ms\"\ntimeout = \"3s\"\n")
	p.Must("deploy", "intra", app, "--host", "intra.test")
	dial := func() *rig.Asker {
		c, err := net.DialTimeout("tcp", p.HTTP, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return rig.NewAsker(t, c)
	}
	for range 4 {
		alice := dial()
		alice.SignIn("intra.test", "NTLM", "alice")
		for range 5 {
			if got := dial().Ask("intra.test", "/", ""); !strings.HasPrefix(got, "401 ") {
				t.Errorf("without credentials: %q", got)
			}
			if got := alice.Ask("intra.test", "/", ""); got != "200 you are alice" {
				t.Errorf("on the same connection: %q", got)
			}
		}
	}
	bob := dial()
	ticket := rig.Ticket("bob")
	if got := bob.Ask("intra.test", "/", "Negotiate "+ticket); got != "200 you are bob" {
		t.Errorf("with a ticket: %q", got)
	}
	for range 5 {
		if got := dial().Ask("intra.test", "/", ""); !strings.HasPrefix(got, "401 ") {
			t.Errorf("after a ticket: %q", got)
		}
	}
}

// keepingApp keeps who a visitor is with the connection, without a word in HTTP.
const keepingApp = `'use strict';
require('http').createServer((req, res) => {
  const c = req.socket, name = new URL(req.url, 'http://a').searchParams.get('name');
  if (name) c.who = name;
  res.end('you are ' + (c.who || 'nobody'));
}).listen(process.env.PORT, process.env.HOST || '127.0.0.1');
`

// TestPrivateSite: what an application binds to its connections belongs to one client, through both hops, when its site is said to be
// private.
func TestPrivateSite(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	app := t.TempDir()
	write(t, app, "server.js", keepingApp)
	write(t, app, "portico.toml", "run = [\"node\", \"server.js\"]\n[session]\nconnection = \"private\"\n")
	p.Must("deploy", "keep", app, "--host", "keep.test")
	dial := func() *rig.Asker {
		c, err := net.DialTimeout("tcp", p.HTTP, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return rig.NewAsker(t, c)
	}
	for range 5 {
		alice := dial()
		if got := alice.Ask("keep.test", "/?name=alice", ""); got != "200 you are alice" {
			t.Fatalf("got %q", got)
		}
		for range 5 {
			if got := dial().Ask("keep.test", "/", ""); got != "200 you are nobody" {
				t.Errorf("somebody else: %q", got)
			}
			if got := alice.Ask("keep.test", "/", ""); got != "200 you are alice" {
				t.Errorf("on the same connection: %q", got)
			}
		}
	}
	if out := p.Must("explain", "http://keep.test/"); !strings.Contains(out, "session.connection") {
		t.Errorf("%s", out)
	}
	write(t, app, "portico.toml", "run = [\"node\", \"server.js\"]\n[session]\nconnection = \"own\"\n")
	if r := p.CLI("deploy", "keep", app); r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, `session.connection = "own"`) {
		t.Errorf("a setting that nobody knows: exit %d, %s%s", r.Code, r.Stdout, r.Stderr)
	}
}
