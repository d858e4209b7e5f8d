package streams

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"portico/proxy/exchange"
	"portico/proxy/exchange/exchangetest/rig"
)

// idleVar tells a test binary to be the client of RunIdle: an address.
const idleVar = "PORTICO_TEST_IDLE"

const idleConns = 1000

// IdleClient makes the process the client of RunIdle, if it was started for that. TestMain asks it first: what the clients hold must not
// be taken for the driver's.
func IdleClient() bool {
	addr := os.Getenv(idleVar)
	if addr == "" {
		return false
	}
	var all []*quietH2
	for range idleConns {
		c, err := openQuiet(addr, nil, quietGet, nil)
		if err == nil {
			c.round(2)
		} else {
			fmt.Println(err)
		}
		all = append(all, c)
	}
	fmt.Println("idle")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(all)
	return true
}

// RunIdle holds what a connection over TLS costs that has had its requests and waits for more: limit bytes, its goroutine included.
func RunIdle(t *testing.T, mk rig.Maker, limit int) {
	ln, _ := rig.H2Listener(t)
	q := &quiet{up: &exchange.Upstream{Addr: quietOrigin(t, 0)}}
	addr, d := rig.Start(t, mk, exchange.Options{Config: exchange.Config{Handler: q}, Listeners: []exchange.Listener{ln}})
	before := held()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), idleVar+"="+addr)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "idle\n" {
		t.Fatalf("the client says %q", line)
	}
	each := 0
	for range 20 { // stacks shrink by and by, and pools let go in two rounds
		time.Sleep(500 * time.Millisecond)
		if each = (held() - before) / idleConns; each <= limit {
			break
		}
	}
	if n := d.Stats().Clients; n != idleConns {
		t.Fatalf("%d clients", n)
	}
	t.Logf("%s bytes a connection", strconv.Itoa(each))
	if each > limit {
		t.Errorf("an idle connection holds %d bytes, more than %d", each, limit)
	}
}

// held is what is in use after a collection.
func held() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
