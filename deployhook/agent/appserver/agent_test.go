package appserver_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"portico/conf"
	"portico/deployhook/agent/appserver"
	"portico/internal/exitcode"
	"portico/membership/catalog"
	"portico/proxy/frontdoor"
	"portico/tests/support/freeport"
)

// far away from what a busy machine needs.
const patience = 2 * time.Minute

// door starts a proxy in this process.
func door(t *testing.T, log *slog.Logger) *frontdoor.Proxy {
	t.Helper()
	c := conf.Default()
	c.Dir, c.Proxy.Name = filepath.Join(t.TempDir(), "proxy"), "proxy-1"
	c.Proxy.HTTP, c.Proxy.HTTPS, c.TLS.ACME = freeport.Addr(t), "", ""
	c.Admin.Address, c.Gossip.Address = freeport.Addr(t), freeport.Addr(t)
	ctx, stop := context.WithCancel(t.Context())
	p, err := frontdoor.New(ctx, frontdoor.Options{Conf: c, Version: "0.1.0", Logger: log})
	if err != nil {
		stop()
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-end; err != nil {
			t.Error(err)
		}
	})
	return p
}

// configuration is that of an application server of no cluster yet.
func configuration(t *testing.T) conf.Config {
	c := conf.Default()
	c.Dir, c.Agent.Name = filepath.Join(t.TempDir(), "agent"), "server-1"
	c.Agent.Address, c.Gossip.Address = freeport.Addr(t), freeport.Addr(t)
	return c
}

// listens reports whether the agent is ready for the proxies.
func listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// TestAgentJoinsAndStartsAgain: an agent runs without a process of its own, joins by an invitation, and needs neither that nor the
// name of a proxy to start again.
func TestAgentJoinsAndStartsAgain(t *testing.T) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	p := door(t, log)
	code, err := p.Invite(t.Context(), catalog.RoleServer, time.Hour, "a test")
	if err != nil {
		t.Fatal(err)
	}
	c := configuration(t)
	first := c
	first.Agent.Join, first.Agent.Fingerprint = []string{p.AdminAddr().String()}, p.Fingerprint()
	var asked atomic.Int64
	run := func(c conf.Config, code string, until func(*catalog.View) bool) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		a, err := appserver.New(appserver.Options{
			Conf: c, Code: code, Version: "0.1.0", Logger: log,
			EndsSites: func() bool { asked.Add(1); return false },
		})
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan error, 1)
		go func() { end <- a.Run(ctx) }()
		for limit := time.Now().Add(patience); !until(p.Catalog().View()); time.Sleep(20 * time.Millisecond) {
			select {
			case err := <-end:
				t.Fatalf("the agent has ended: %v", err)
			default:
			}
			if time.Now().After(limit) {
				t.Fatalf("the cluster has %+v", p.Catalog().View().Members)
			}
		}
		stop()
		if err := <-end; err != nil {
			t.Error(err)
		}
	}
	run(first, code.Code, func(v *catalog.View) bool {
		m := v.Members["server-1"]
		return m != nil && m.Admission == catalog.Accepted && listens(c.Agent.Address)
	})
	c.Agent.Zone = "room-2" // told at the next contact
	run(c, "", func(v *catalog.View) bool { return v.Members["server-1"].Zone == "room-2" })
	if asked.Load() != 2 {
		t.Errorf("it asked %d times whether its sites end with it", asked.Load())
	}
}

// TestAgentNamesWhatIsMissing: who starts an agent without the name of a proxy, or without the cluster's fingerprint, is told how to.
func TestAgentNamesWhatIsMissing(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, join := range [][]string{nil, {"127.0.0.1:1"}} {
		c := configuration(t)
		c.Agent.Join = join
		a, err := appserver.New(appserver.Options{Conf: c, Version: "0.1.0", Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		var coded interface{ ExitCode() int }
		if err := a.Run(t.Context()); !errors.As(err, &coded) || coded.ExitCode() != exitcode.Usage {
			t.Errorf("with the proxies %v it ends with %v", join, err)
		}
	}
}
