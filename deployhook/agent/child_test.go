package agent_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"portico/deployhook/agent"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// childConfig is an agent in a process of its own, which can be killed.
type childConfig struct {
	Dir     string
	Listen  string
	Proxies []messages.Peer
	Cert    []byte
	Key     []byte
	CA      []byte
}

// child is such a process.
type child struct {
	cmd  *exec.Cmd
	addr net.Addr
}

// startChild starts an agent that is to be killed. Without a proxy it gets none.
func (c *cluster) startChild(t *testing.T, dir string, withProxy bool) *child {
	t.Helper()
	return c.startChildUnder(t, dir, withProxy, func(argv []string) []string { return argv })
}

// startChildUnder is startChild with a command line around the agent's own.
func (c *cluster) startChildUnder(t *testing.T, dir string, withProxy bool, wrap func(argv []string) []string) *child {
	t.Helper()
	return c.startChildConfig(t, childConfig{Dir: dir, Listen: "127.0.0.1:0"}, withProxy, wrap)
}

// startChildAt is startChildUnder with an address for the listener.
func (c *cluster) startChildAt(t *testing.T, dir, listen string, wrap func(argv []string) []string) *child {
	t.Helper()
	return c.startChildConfig(t, childConfig{Dir: dir, Listen: listen}, true, wrap)
}

func (c *cluster) startChildConfig(t *testing.T, config childConfig, withProxy bool, wrap func(argv []string) []string) *child {
	t.Helper()
	cmd := c.childCommand(t, config, withProxy, wrap)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ch := &child{cmd: cmd}
	t.Cleanup(ch.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("agent process: %v", err)
	}
	if ch.addr, err = net.ResolveTCPAddr("tcp", strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	return ch
}

// childCommand is what starts such an agent.
func (c *cluster) childCommand(t *testing.T, config childConfig, withProxy bool, wrap func(argv []string) []string) *exec.Cmd {
	t.Helper()
	cert := c.ca.issue(t, "app1")
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	config.Cert, config.Key, config.CA = cert.Certificate[0], key, c.ca.cert.Raw
	if withProxy {
		config.Proxies = []messages.Peer{c.peer()}
	}
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := wrap([]string{exe})
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PORTICO_TEST_AGENT="+string(b), "PORTICO_TOKEN=secret-of-the-agent")
	return cmd
}

// kill ends the agent without any warning.
func (ch *child) kill() {
	if ch.cmd.ProcessState == nil {
		_ = ch.cmd.Process.Kill()
		_ = ch.cmd.Wait()
	}
}

// stop ends the agent in order.
func (ch *child) stop(t *testing.T) {
	t.Helper()
	if err := ch.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := ch.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// agentMain is the process that startChild starts.
func agentMain(config string) int {
	var c childConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	key, err := x509.ParsePKCS8PrivateKey(c.Key)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ca, err := x509.ParseCertificate(c.CA)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	certs := []tls.Certificate{{Certificate: [][]byte{c.Cert}, PrivateKey: key.(*ecdsa.PrivateKey)}}
	a, err := agent.New(agent.Options{
		Dir: c.Dir, Name: "app1", Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Listen:    c.Listen,
		ServerTLS: &tls.Config{Certificates: certs, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool},
		ClientTLS: func(catalog.Role, string) *tls.Config { return &tls.Config{RootCAs: pool, Certificates: certs} },
		Proxies:   c.Proxies,
	})
	if err == nil {
		err = a.Listen()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Println(a.Addr())
	if err := a.Serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := a.Shutdown(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
