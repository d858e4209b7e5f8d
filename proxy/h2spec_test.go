package proxy_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	frames "github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"portico/conf"
)

// TestH2Spec runs h2spec, a suite of what RFC 9113 and RFC 7541 ask of a server, with every engine. It asks what holds strictly, too.
func TestH2Spec(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			addr, _ := origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100)) })
			opt, _ := tlsOptions(t, "127.0.0.1")
			opt.Conf.Engine = engine
			f := start(t, opt, conf.Site{Name: "any", Upstreams: []conf.Upstream{{Name: "a", Addr: addr}}})
			host, port, _ := net.SplitHostPort(f.tls)
			n, _ := strconv.Atoi(port)
			c := &config.Config{Host: host, Port: n, Path: "/", Timeout: 10 * time.Second, MaxHeaderLen: 4000, Strict: true, TLS: true, Insecure: true}
			cases := 0
			for _, g := range []*spec.TestGroup{generic.Spec(), frames.Spec(), hpack.Spec()} {
				cases += h2specGroup(t, c, g)
			}
			if cases < 145 {
				t.Errorf("%d cases, want 145 at least", cases)
			}
		})
	}
}

// h2specGroup runs a group with those below it, each case as a test of its own, and returns how many there are.
func h2specGroup(t *testing.T, c *config.Config, g *spec.TestGroup) (cases int) {
	for i, tc := range append(append([]*spec.TestCase{}, g.Tests...), g.StrictTests...) {
		cases++
		t.Run(fmt.Sprintf("%s/%d", g.ID(), i+1), func(t *testing.T) {
			t.Parallel()
			conn, err := spec.Dial(c)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if err := tc.Run(c, conn); err != nil && !errors.Is(err, spec.ErrSkipped) {
				t.Errorf("%s: %v\n%s", tc.Desc, err, tc.Requirement)
			}
		})
	}
	for _, below := range g.Groups {
		cases += h2specGroup(t, c, below)
	}
	return cases
}
