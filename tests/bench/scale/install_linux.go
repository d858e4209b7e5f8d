package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"portico/internal/pause"
	"portico/tests/bench/account"
	"portico/tests/bench/cluster"
)

// installation is a proxy and two application servers, with something that counts before each of their listeners.
type installation struct {
	b       *bench
	ctx     context.Context
	c       *cluster.Cluster
	way     map[string]*relay // that others take to a member
	client  *relay
	as      string // folder with the client file that leads through client
	program string
}

// effort is what something took.
type effort struct {
	wall, cpu time.Duration
	client    int64 // bytes from the client
	servers   int64 // bytes to both servers, from wherever
}

// measureInstall is lines 5 and 6.
func measureInstall(ctx context.Context, b *bench, program string) ([]figure, error) {
	c, err := cluster.New(ctx, program)
	if err != nil {
		return nil, err
	}
	c.Env = b.profiled("5", 0)
	in := &installation{b: b, ctx: ctx, c: c, way: map[string]*relay{}, program: program}
	defer in.close()
	if err := in.start(); err != nil {
		return nil, err
	}
	site := filepath.Join(c.Dir, "site")
	if err := b.writeSite(site); err != nil {
		return nil, err
	}
	whole, err := in.deploy(site, "5")
	if err != nil {
		return nil, err
	}
	copied, synced := in.rsync(site)
	size, err := b.changeTen(site)
	if err != nil {
		return nil, err
	}
	if err := pause.For(ctx, 5*time.Second); err != nil { // what the first deploy left for later is not the second one's
		return nil, err
	}
	ten, err := in.deploy(site, "6")
	if err != nil {
		return nil, err
	}
	copiedTen, _ := in.rsync(site)
	none, err := in.deploy(site, "6-same")
	if err != nil {
		return nil, err
	}
	figures := []figure{
		{"5", fmt.Sprintf("%d MiB in %d files to two servers: time", b.bytes>>20, b.files), whole.wall.Seconds(), "s", ""},
		{"5", "  CPU of client, proxy and agents", whole.cpu.Seconds(), "s", ""},
	}
	if synced == nil {
		figures = append(figures,
			figure{"5", "  rsync -a to two folders: time", copied.wall.Seconds(), "s", ""},
			figure{"5", "  rsync -a: CPU", copied.cpu.Seconds(), "s", ""},
			figure{"5", "  time against rsync", whole.wall.Seconds() / copied.wall.Seconds(), "x", "1.5"},
			figure{"5", "  CPU against rsync", whole.cpu.Seconds() / copied.cpu.Seconds(), "x", "2"},
			figure{"6", "ten of them changed, rsync -a to two folders: time", copiedTen.wall.Seconds(), "s", ""})
	} else {
		fmt.Printf("     nothing to compare line 5 to: %v\n", synced)
	}
	return append(figures,
		figure{"6", "ten of them changed: time", ten.wall.Seconds(), "s", "0.5"},
		figure{"6", "  CPU of client, proxy and agents", ten.cpu.Seconds(), "s", ""},
		figure{"6", "  bytes from the client", float64(ten.client) / 1024, "KiB", fmt.Sprintf("%d and what names them", size>>10)},
		figure{"6", "  bytes to each server", float64(ten.servers) / 2 / 1024, "KiB", "the same"},
		figure{"6", "none of them changed: time", none.wall.Seconds(), "s", ""}), nil
}

func (in *installation) close() {
	in.c.Close()
	for _, r := range in.way {
		r.close()
	}
	if in.client != nil {
		in.client.close()
	}
}

func (in *installation) start() error {
	in.c.Way = func(member, addr string) (string, error) {
		r, err := startRelay(addr)
		if err != nil {
			return "", err
		}
		in.way[member] = r
		return r.addr(), nil
	}
	if err := in.c.Start(1, 2); err != nil {
		return err
	}
	f, err := readClientFile(filepath.Join(in.c.Dir, "proxy-1"))
	if err != nil {
		return err
	}
	if in.client, err = startRelay(in.way["proxy-1"].to); err != nil {
		return err
	}
	f.Addr = in.client.addr()
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	in.as = filepath.Join(in.c.Dir, "client")
	return errors.Join(os.Mkdir(in.as, 0o700), os.WriteFile(filepath.Join(in.as, "client.json"), text, 0o600))
}

// deploy installs the folder on both servers, and returns when both serve it.
func (in *installation) deploy(site, line string) (effort, error) {
	ctx, cancel := context.WithTimeout(in.ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, in.program, "deploy", "many", site, "--host", "many.test", "--yes")
	cmd.Env = append(append(os.Environ(), "PORTICO_DIR="+in.as), in.b.profiled(line, 10*time.Second)...)
	before, client, servers, began := in.cpu(), in.client.there.Load(), in.toServers(), time.Now()
	in.profile()
	out, err := cmd.CombinedOutput()
	in.profile()
	e := effort{
		wall: time.Since(began), cpu: in.cpu() - before + usage(cmd),
		client: in.client.there.Load() - client, servers: in.toServers() - servers,
	}
	if err != nil {
		return e, fmt.Errorf("deploy of line %s: %w\n%s", line, err, out)
	}
	return e, nil
}

// cpu is what the members have taken.
func (in *installation) cpu() (sum time.Duration) {
	for _, m := range in.c.Members {
		sum += time.Duration(account.CPU(m.Pid()))
	}
	return sum
}

// toServers are the bytes that reached the servers: answers of the proxy and of each other, and what others send them.
func (in *installation) toServers() (sum int64) {
	for member, r := range in.way {
		sum += r.back.Load()
		if member != "proxy-1" {
			sum += r.there.Load()
		}
	}
	return sum
}

// profile begins CPU profiles of the members, or ends them.
func (in *installation) profile() {
	if in.b.profile == "" {
		return
	}
	for _, m := range in.c.Members {
		_ = syscall.Kill(m.Pid(), syscall.SIGPWR)
	}
}

// rsync copies the folder to two others, one after the other.
func (in *installation) rsync(site string) (e effort, err error) {
	began := time.Now()
	for _, to := range []string{"copy-1", "copy-2"} {
		cmd := exec.CommandContext(in.ctx, "rsync", "-a", site+"/", filepath.Join(in.c.Dir, to)+"/")
		if out, err := cmd.CombinedOutput(); err != nil {
			return e, fmt.Errorf("rsync: %w %s", err, out)
		}
		e.cpu += usage(cmd)
	}
	e.wall = time.Since(began)
	return e, nil
}

// usage is what a command and those that it waited for have taken.
func usage(cmd *exec.Cmd) time.Duration {
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}
