package tests

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// refused is something that a start refuses, and portico check with the same words.
type refused struct {
	what  string
	as    string   // proxy or agent
	args  []string // of both commands
	only  []string // of the start alone
	pre   []string // runs both as somebody else
	wants []string
}

// asNobody runs a command as an account that owns nothing.
var asNobody = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}

// TestCheckFindsWhatAStartRefuses: portico check looked at the file alone. It found no port that was taken and nothing
// that is wrong with the state folder; an agent whose port was taken knocked, and said so when it was let in.
func TestCheckFindsWhatAStartRefuses(t *testing.T) {
	t.Parallel()
	harness.NeedRoot(t)
	harness.Need(t, "setpriv")
	p := harness.StartProxy(t)
	a := p.AddServer("server-1")
	gossip := a.Args()[slices.Index(a.Args(), "--gossip")+1]
	proxyArgs := func(flag, value string) []string {
		return freeAddresses(t, []string{"http", "https", "admin", "gossip", "catalog"}, flag, value)
	}
	agentArgs := func(flag, value string) []string { return freeAddresses(t, []string{"listen", "gossip"}, flag, value) }
	knocks := []string{"--join", p.Admin, "--fingerprint", p.Fingerprint(), "--name", "server-9"}
	dir := func() string { return harness.TempDir(t) }
	file := writeFile(t, "file", "no folder")
	newer := dir()
	write(t, newer, "identity/x", "")
	copyFile(t, filepath.Join(a.Dir, "identity", "key.pem"), filepath.Join(newer, "identity", "key.pem"))
	write(t, newer, "agent/state.json", `{"version": 99}`)
	closed := dir()
	write(t, closed, "identity/key.pem", "secret")
	if err := os.Chmod(filepath.Join(closed, "identity"), 0o700); err != nil {
		t.Fatal(err)
	}
	foreign := dir()
	write(t, foreign, "identity/key.pem", "secret")
	for _, err := range []error{os.Chown(foreign, 65534, 65534), os.Chown(filepath.Join(foreign, "identity"), 65534, 65534), os.Chmod(filepath.Join(foreign, "identity", "key.pem"), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stopped := p.AddServer("server-2")
	stopped.Stop()

	list := []refused{
		{what: "the folder is a file", as: "proxy", args: append(proxyArgs("", ""), "--dir", file), wants: []string{file + " is a file", "--dir"}},
		{what: "the folder lies below a file", as: "agent", args: append(agentArgs("", ""), "--dir", file+"/x"), only: knocks, wants: []string{"state folder", file, "--dir"}},
		{what: "the folder cannot be made", as: "proxy", args: append(proxyArgs("", ""), "--dir", "/opt/portico-test-nobody/x"), pre: asNobody,
			wants: []string{"make the state folder /opt/portico-test-nobody/x", "/opt belongs to user root", "closed to user nobody", "--dir"}},
		{what: "the folder is another's", as: "agent", args: append(agentArgs("", ""), "--dir", closed), only: knocks, pre: asNobody,
			wants: []string{closed, "belongs to user root", "has mode 0755", "run portico as its owner"}},
		{what: "a key is another's", as: "proxy", args: append(proxyArgs("", ""), "--dir", foreign), pre: asNobody, wants: []string{"identity", "belongs to user root", "chown -R"}},
		{what: "the folder is an agent's", as: "proxy", args: append(proxyArgs("", ""), "--dir", stopped.Dir), wants: []string{`is the folder of server "server-2"`, "--dir"}},
		{what: "the folder is a proxy's", as: "agent", args: append(agentArgs("", ""), "--dir", p.Dir), only: knocks, wants: []string{`is the folder of proxy "proxy-1"`, "--dir"}},
		{what: "the state is a newer version's", as: "agent", args: append(agentArgs("", ""), "--dir", newer), only: knocks, wants: []string{"state.json", "newer version"}},
		{what: "a certificate is missing", as: "proxy", args: append(proxyArgs("", ""), "--dir", dir(), "--set", "tls.acme_root=/nowhere/ca.pem"), wants: []string{"tls.acme_root", "/nowhere/ca.pem"}},
		{what: "an invitation is missing", as: "agent", args: append(agentArgs("", ""), "--dir", dir(), "--set", "agent.invite_file=/nowhere/code"), only: knocks, wants: []string{"/nowhere/code"}},
		{what: "a password is missing", as: "agent", args: append(agentArgs("", ""), "--dir", dir(), "--set", "agent.tomcat.url=http://127.0.0.1:1/manager/text", "--set", "agent.tomcat.user=x", "--set", "agent.tomcat.password_file=/nowhere/pw"),
			only: knocks, wants: []string{"agent.tomcat.password_file", "/nowhere/pw"}},
		{what: "a setting is wrong", as: "agent", args: append(agentArgs("listen", "nowhere"), "--dir", dir()), only: knocks, wants: []string{"--listen", "nowhere"}},
		{what: "an address is another machine's", as: "proxy", args: append(proxyArgs("http", "192.0.2.77:80"), "--dir", dir()), wants: []string{"--http 192.0.2.77:80", "does not have that address"}},
	}
	list = append(list, portsTaken(t, proxyArgs, agentArgs, knocks)...)
	for _, c := range list {
		c.try(t)
	}

	// What the running processes have themselves is no fault.
	running := append([]string{"check", "--dir", p.Dir, "--as", "proxy"}, p.Args()[slices.Index(p.Args(), "--http"):]...)
	for _, args := range [][]string{running, {"check", "--dir", a.Dir}, {"check", "--dir", a.Dir, "--as", "agent", "--listen", a.Addr, "--gossip", gossip}} {
		if r := harness.Run(t, nil, args...); r.Code != 0 {
			t.Errorf("portico %v beside the running process: exit %d\n%s%s", args, r.Code, r.Stdout, r.Stderr)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("check has made files: %v", left)
	}
}

// portsTaken is one case for each address flag of both roles, over TCP and, for the gossip, UDP.
func portsTaken(t *testing.T, proxyArgs, agentArgs func(flag, value string) []string, knocks []string) (list []refused) {
	t.Helper()
	settings := map[string]string{"http": "proxy.http", "https": "proxy.https", "admin": "admin.address", "catalog": "catalog.address", "listen": "agent.address", "gossip": "gossip.address"}
	tcp := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l.Addr().String()
	}
	add := func(as, flag, addr string, pid bool, args, only []string) {
		c := refused{what: as + " --" + flag + " is taken", as: as, args: append(args, "--dir", harness.TempDir(t)), only: only,
			wants: []string{"--" + flag + " " + addr + ": another program has this port", "stop it, or choose another address with --" + flag + " (" + settings[flag] + ")"}}
		if pid {
			c.wants = append(c.wants, fmt.Sprintf("pid %d of user root", os.Getpid()))
		}
		list = append(list, c)
	}
	for _, flag := range []string{"http", "https", "admin", "gossip", "catalog"} {
		addr := tcp()
		args := proxyArgs(flag, addr)
		if flag == "catalog" { // it is bound where there are several proxies
			args = append(args, "--join", knocks[1])
		}
		add("proxy", flag, addr, true, args, nil)
	}
	for _, flag := range []string{"listen", "gossip"} {
		addr := tcp()
		add("agent", flag, addr, true, agentArgs(flag, addr), knocks)
	}
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	add("proxy", "gossip", u.LocalAddr().String(), false, proxyArgs("gossip", u.LocalAddr().String()), nil)
	add("agent", "gossip", u.LocalAddr().String(), false, agentArgs("gossip", u.LocalAddr().String()), knocks)
	return list
}

// freeAddresses gives each flag an address that is free, and one of them another.
func freeAddresses(t *testing.T, flags []string, flag, value string) (args []string) {
	for _, f := range flags {
		addr := harness.Addr(t)
		if f == flag {
			addr = value
		}
		args = append(args, "--"+f, addr)
	}
	return args
}

// try has portico check and the start itself refuse it.
func (c refused) try(t *testing.T) {
	t.Helper()
	says := func(command, log string, code int) {
		if code == 0 {
			t.Errorf("%s: %s does not refuse it\n%s", c.what, command, log)
		}
		for _, want := range c.wants {
			if !strings.Contains(log, want) {
				t.Errorf("%s: %s does not say %q:\n%s", c.what, command, want, log)
			}
		}
	}
	r := harness.RunIn(t, c.pre, nil, append([]string{"check", "--as", c.as}, c.args...)...)
	says("portico check", r.Stdout+r.Stderr, r.Code)
	start := harness.StartIn(t, c.pre, c.what, nil, append(append([]string{c.as}, c.args...), c.only...)...)
	code := start.Wait(time.Minute)
	says("the start", start.Log(), code)
}

// TestTakenCatalogAddressIsTold: a proxy that is alone starts beside a program that has its catalog's address, and says in the words for
// other addresses that no second one can join; so does portico check.
func TestTakenCatalogAddressIsTold(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	addr := l.Addr().String()
	wants := []string{"no other proxy can join this one: --catalog " + addr + ": another program has this port, ", "stop it, or choose another address with --catalog (catalog.address)"}
	p := harness.StartProxy(t, "--catalog", addr)
	told := map[string]string{"the log": p.Log()}
	for _, format := range [][]string{nil, {"--json"}} {
		r := harness.Run(t, nil, append([]string{"check", "--as", "proxy", "--dir", harness.TempDir(t), "--http", harness.Addr(t), "--https", harness.Addr(t),
			"--admin", harness.Addr(t), "--gossip", harness.Addr(t), "--catalog", addr}, format...)...)
		if r.Code != 0 {
			t.Errorf("check %v: exit %d %s", format, r.Code, r.Stderr)
		}
		told[fmt.Sprint("check ", format)] = r.Stdout
	}
	for who, text := range told {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q:\n%s", who, want, text)
			}
		}
	}
	if log := harness.StartProxy(t).Log(); strings.Contains(log, "no other proxy can join") {
		t.Errorf("the address is free, and the log says\n%s", log)
	}
}
