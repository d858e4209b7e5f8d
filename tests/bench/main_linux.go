package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"portico/tests/bench/account"
)

// kase is one kind of work.
type kase struct {
	name, what string
	args       []string // for the load generator
	tls        bool
	sticky     bool // peers that cannot pin do the same work without
	memory     bool
	conns      int // of a memory case
	quick      bool
}

var cases = []kase{
	{name: "small", what: "GET, 128 bytes, keep-alive", args: []string{"-path", "/s"}, quick: true},
	{name: "sticky", what: "the same with a sticky cookie", args: []string{"-path", "/s", "-host", "sticky.test"}, sticky: true, quick: true},
	{name: "k16", what: "GET, 16 KiB", args: []string{"-path", "/k"}, quick: true},
	{name: "m1", what: "GET, 1 MiB", args: []string{"-path", "/m", "-conns", "16"}, quick: true},
	{name: "post4k", what: "POST of 4 KiB", args: []string{"-path", "/s", "-body", "4096"}},
	{name: "post10m", what: "POST of 10 MiB, 16 connections", args: []string{"-path", "/s", "-body", "10485760", "-conns", "16"}},
	{name: "tls", what: "TLS 1.3, keep-alive", args: []string{"-path", "/s", "-mode", "tls"}, tls: true, quick: true},
	{name: "tlsnew", what: "TLS 1.3, a connection each", args: []string{"-path", "/s", "-mode", "tlsnew"}, tls: true},
	{name: "tlsresume", what: "the same, resumed", args: []string{"-path", "/s", "-mode", "tlsresume"}, tls: true},
	{name: "h2", what: "HTTP/2 over TLS 1.3, 8 connections of 8 streams", args: []string{"-path", "/s", "-mode", "h2", "-conns", "8", "-streams", "8"}, tls: true, quick: true},
	{name: "h2one", what: "the same, 64 connections of 1 stream", args: []string{"-path", "/s", "-mode", "h2", "-conns", "64", "-streams", "1"}, tls: true},
	{name: "h2many", what: "the same, 1 connection of 100 streams", args: []string{"-path", "/s", "-mode", "h2", "-conns", "1", "-streams", "100"}, tls: true},
	{name: "h2k16", what: "the same as h2, 16 KiB", args: []string{"-path", "/k", "-mode", "h2", "-conns", "8", "-streams", "8"}, tls: true},
	{name: "h2m1", what: "HTTP/2, 1 MiB, 4 connections of 4 streams", args: []string{"-path", "/m", "-mode", "h2", "-conns", "4", "-streams", "4"}, tls: true},
	{name: "h2post4k", what: "the same as h2, POST of 4 KiB", args: []string{"-path", "/s", "-mode", "h2", "-conns", "8", "-streams", "8", "-body", "4096"}, tls: true},
	{name: "h2post10m", what: "HTTP/2, POST of 10 MiB, 4 connections of 4 streams", args: []string{"-path", "/s", "-mode", "h2", "-conns", "4", "-streams", "4", "-body", "10485760"}, tls: true},
	{name: "h2new", what: "HTTP/2, a connection each", args: []string{"-path", "/s", "-mode", "h2new"}, tls: true},
	{name: "ws", what: "WebSocket messages of 64 bytes, echoed", args: []string{"-path", "/ws", "-mode", "ws"}, quick: true},
	{name: "sites", what: "sticky, one of 1,000 sites with 4 instances each", args: []string{"-path", "/s", "-host", "site777.test"}},
	{name: "half", what: "25,000 requests a second, about half of what HAProxy can do: latency", args: []string{"-path", "/s", "-rate", strconv.Itoa(halfRate)}},
	{name: "idle", what: "memory of an idle keep-alive connection", args: []string{"-path", "/s", "-mode", "idle", "-conns", "10000"}, memory: true, conns: 10000},
	{name: "h2idle", what: "memory of an idle connection of HTTP/2 over TLS", args: []string{"-path", "/s", "-mode", "h2idle", "-conns", "2000"}, tls: true, memory: true, conns: 2000},
}

// halfRate is about half of what HAProxy can do on the machines that this was written on, requests a second.
const halfRate = 25000

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 1 && args[0] == "-role" {
		switch args[1] {
		case "origin":
			return runOrigin(args[2:])
		case "load":
			return runLoad(args[2:])
		case "portico":
			return runPortico(args[2:])
		}
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := f.Bool("quick", false, "a selection, in under a minute")
	asJSON := f.Bool("json", false, "one JSON object on standard output")
	only := f.String("cases", "", "names of cases, separated by commas; empty: all")
	proxies := f.String("proxies", "", "names of proxies; empty: all that are installed")
	rounds := f.Int("rounds", 0, "turns of each proxy at each case; 0: 5, with -quick 3")
	length := f.Duration("time", 0, "length of one turn; 0: 1.5 s, with -quick 200 ms")
	configs := f.Bool("configs", false, "print the peers' configurations")
	beside := f.String("beside", "", "another build of this bench: its portico takes part as portico-beside, to compare two trees in one run")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *rounds == 0 {
		*rounds = 5
		if *quick {
			*rounds = 3
		}
	}
	if *length == 0 {
		*length = 1500 * time.Millisecond
		if *quick {
			*length = 200 * time.Millisecond
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen := func(list, name string) bool { return list == "" || slices.Contains(strings.Split(list, ","), name) }
	var todo []kase
	for _, k := range cases {
		if *only != "" && chosen(*only, k.name) || *only == "" && (k.quick || !*quick) {
			todo = append(todo, k)
		}
	}
	b, cleanup, err := prepare(slices.ContainsFunc(todo, func(k kase) bool { return k.name == "sites" }))
	if err != nil {
		return err
	}
	defer cleanup()
	originProcess, err := b.startOrigin()
	if err != nil {
		return err
	}
	defer func() { _ = originProcess.Kill() }()
	b.beside = *beside
	peers, err := b.peers(func(name string) bool {
		if *proxies == "" && *quick && name == "caddy" {
			return false
		}
		return chosen(*proxies, name)
	})
	if err != nil {
		return err
	}
	rep := report{
		At: time.Now().UTC().Format(time.RFC3339), Machine: account.Processor(), Kernel: account.Kernel(), Cores: runtime.NumCPU(), Go: runtime.Version(),
		Versions: map[string]string{}, Ratios: map[string]string{},
	}
	for _, p := range peers {
		if err := b.start(p); err != nil {
			return err
		}
		defer p.stop()
		rep.Versions[p.name] = p.version
		if *configs {
			fmt.Fprintf(os.Stderr, "--- %s\n%s\n%s\n", p.name, p.version, p.config)
		}
	}
	for _, k := range todo {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rep.Results = append(rep.Results, b.measure(ctx, k, peers, originProcess.Pid, *rounds, *length)...)
	}
	rep.ratios()
	rep.verify()
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(rep)
	}
	rep.print(os.Stdout)
	return nil
}

func prepare(sites bool) (*bench, func(), error) {
	dir, err := os.MkdirTemp("", "portico-bench")
	if err != nil {
		return nil, nil, err
	}
	b := &bench{dir: dir, cert: filepath.Join(dir, "cert"), key: filepath.Join(dir, "key")}
	if sites {
		b.sites = 1000
	}
	if b.self, err = os.Executable(); err != nil {
		return nil, nil, err
	}
	if runtime.NumCPU() > 1 {
		b.proxyCore, b.loadCore = "0", "1"
	}
	_ = os.Chmod(dir, 0o755) // nginx's worker is another user
	return b, func() { _ = os.RemoveAll(dir) }, b.certificate()
}

func (b *bench) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"small.test", "sticky.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return err
	}
	kder, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder})
	return errors.Join(os.WriteFile(b.cert, cert, 0o600), os.WriteFile(b.key, private, 0o600), os.WriteFile(b.cert+".pem", append(cert, private...), 0o600))
}

func (b *bench) startOrigin() (*os.Process, error) {
	b.origin = "127.0.0.1:" + strconv.Itoa(freePort())
	c := pinned(b.loadCore, b.self, "-role", "origin", port(b.origin))
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	_, err = bufio.NewReader(out).ReadString('\n')
	return c.Process, err
}
