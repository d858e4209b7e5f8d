package tests

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// webServer stands for nginx: it opens its port as root, serves as www-data what its configuration names, and reads that
// again when it is told to.
const webServer = `const fs = require("fs"), http = require("http")
let root = ""
const read = () => { try { root = /root "(.*)"/.exec(fs.readFileSync("/etc/nginx/portico-shop.conf"))[1] } catch { root = "" } }
process.on("SIGHUP", read)
read()
http.createServer((q, a) => {
  fs.readFile(root + "/index.html", (err, text) => { a.statusCode = err ? 503 : 200; a.end(err ? String(err) : text) })
}).listen(8081, "127.0.0.1", () => { process.setgroups([33]); process.setgid(33); process.setuid(33) })
`

// TestHookSwitchesAWebServer: joining.md's way to a web server that is root's, under the agent's unit. The hooks run as the
// web server's account and gain no rights; a unit of the machine does what takes root. What the site's user
// asks for is not done when it is no release.
func TestHookSwitchesAWebServer(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	network := harness.NewNet(t)
	front, server := harness.Boot(t, network.Host("front")), harness.Boot(t, network.Host("server-1"))
	bootProxy(t, front)
	bootAgent(t, front, server)
	server.Must("sed", "-i", `/^name = /a allow_users = ["www-data"]`, "/etc/portico/portico.toml")
	server.Must("systemctl", "restart", "portico-agent")

	examples := filepath.Join(harness.Root(), "docs", "examples", "switch-site")
	for name, file := range map[string]string{
		"/usr/local/sbin/switch-site": "switch-site", "/etc/systemd/system/switch-site@.path": "switch-site@.path", "/etc/systemd/system/switch-site@.service": "switch-site@.service",
	} {
		server.Put(name, read(t, filepath.Join(examples, file)))
	}
	server.Must("chmod", "755", "/usr/local/sbin/switch-site")
	server.Put("/srv/web.js", webServer)
	server.Put("/etc/nginx/nginx.conf", "")
	server.Put("/etc/systemd/system/nginx.service", "[Service]\nExecStart=/usr/bin/env node /srv/web.js\nExecReload=/bin/kill -HUP $MAINPID\n")
	server.Must("systemctl", "daemon-reload")
	startUnit(t, server, "nginx")
	startUnit(t, server, "switch-site@shop.path")

	front.Put("/tmp/shop/portico.toml", `kind = "hook"
user = "www-data"
data = ["switch"]
[hook]
install = ["grep", "-q", "NoNewPrivs:.1", "/proc/self/status"]
activate = ["sh", "deploy/activate.sh"]
port = 8081
`)
	front.Put("/tmp/shop/deploy/activate.sh", read(t, filepath.Join(examples, "activate.sh")))
	v := harness.NewVisitor(t, net.JoinHostPort(front.IP, "80"), "shop.test")
	v.Client.Transport.(*http.Transport).DialContext = front.DialTo(net.JoinHostPort(front.IP, "80"))
	for _, page := range []string{"the first", "the second"} {
		front.Put("/tmp/shop/index.html", page)
		portico(front, "deploy", "shop", "/tmp/shop", "--host", "shop.test")
		harness.Eventually(t, time.Minute, func() error {
			_, body, err := visitOK(v, "/")
			if err == nil && string(body) != page {
				err = fmt.Errorf("the site shows %q, not %q", body, page)
			}
			return err
		})
	}

	server.Must("sh", "-c", "printf '/etc\\n' >/var/lib/portico/sites/shop/data/switch/wanted")
	harness.Eventually(t, time.Minute, func() error {
		if log := server.Must("journalctl", "-u", "switch-site@shop", "--no-pager", "-o", "cat"); !strings.Contains(log, "no release of it") {
			return fmt.Errorf("the journal says\n%s", log)
		}
		return nil
	})
	if conf := server.Must("cat", "/etc/nginx/portico-shop.conf"); strings.Contains(conf, `"/etc"`) {
		t.Errorf("the site's user has root serve %s", conf)
	}
}
