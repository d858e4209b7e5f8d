package tests

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestSocketUnits: systemd holds the proxy's ports itself, a socket unit for each. Who comes before the proxy runs, or between
// two of them, waits and is answered.
func TestSocketUnits(t *testing.T) {
	t.Parallel()
	front := harness.Boot(t, harness.NewNet(t).Host("front"))
	front.Must("useradd", "--system", "--user-group", "--no-create-home", "portico")
	front.Put("/etc/portico/portico.toml", fmt.Sprintf("[proxy]\nname = \"proxy-1\"\nhttp = \"%[1]s:80\"\nhttps = \"%[1]s:443\"\n[admin]\naddress = \"%[1]s:7443\"\n[gossip]\naddress = \"%[1]s:7946\"\n[tls]\nacme = \"\"\n", front.IP))
	var sockets []string
	for name, port := range map[string]int{"http": 80, "https": 443, "admin": 7443} {
		unit := "portico-" + name + ".socket"
		front.Put("/etc/systemd/system/"+unit, fmt.Sprintf("[Socket]\nListenStream=%s:%d\nFileDescriptorName=%s\nService=portico-proxy.service\n", front.IP, port, name))
		sockets = append(sockets, unit)
	}
	front.Must("mkdir", "-p", "/etc/systemd/system/portico-proxy.service.d")
	front.Put("/etc/systemd/system/portico-proxy.service.d/sockets.conf", "[Service]\nSockets="+strings.Join(sockets, " ")+"\n")
	front.Must("systemctl", "daemon-reload")
	front.Must(append([]string{"systemctl", "start"}, sockets...)...)

	dial := front.DialTo(net.JoinHostPort(front.IP, "80"))
	ask := func(c net.Conn) (string, error) {
		_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.Status, err
	}
	for _, when := range []string{"before the first proxy", "between two proxies"} {
		c, err := dial(t.Context(), "tcp", "")
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n"); err != nil { // which starts the service
			t.Fatal(err)
		}
		if status, err := ask(c); err != nil || !strings.HasPrefix(status, "404") {
			t.Fatalf("who came %s got %q, %v", when, status, err)
		}
		if when == "before the first proxy" {
			startUnit(t, front, "portico-proxy") // it runs: this is for its journal
			harness.Eventually(t, time.Minute, func() error { _, err := front.Try("/usr/local/bin/portico", "members"); return err })
			front.Must("systemctl", "stop", "portico-proxy")
		}
	}
	log := front.Must("journalctl", "-u", "portico-proxy", "--no-pager", "-o", "cat") + "\n"
	for _, name := range []string{"http", "https", "admin"} {
		if strings.Count(log, "listener="+name+"\n") != 2 {
			t.Errorf("the socket %s was not taken twice:\n%s", name, log)
		}
	}
	front.Must(append([]string{"systemctl", "stop", "portico-proxy"}, sockets...)...)
	endedWell(t, front, "portico-proxy")
}
