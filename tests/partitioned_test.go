package tests

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"portico/tests/harness"
)

// TestPartitionedInFrames: a browser that keeps no cookies of third parties shows a site in frames of two others. With session.partitioned
// each frame is a session of its own, which stays on its server; without it the browser keeps no cookie.
func TestPartitionedInFrames(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	framed := t.TempDir()
	write(t, framed, "portico.toml", "hosts = [\"framed.test\"]\nrun = [\"node\", \"server.js\"]\n[tls]\nmode = \"internal\"\n[session]\nsamesite = \"none\"\npartitioned = true\n")
	write(t, framed, "server.js", `require('http').createServer((q, a) => {
  a.setHeader('Content-Type', 'text/html')
  a.end('<script>parent.postMessage("' + process.env.PORTICO_MEMBER + '", "*")</script>')
}).listen(process.env.PORT, '127.0.0.1')
`)
	p.Must("deploy", "framed", framed)
	_, port, err := net.SplitHostPort(p.HTTPS)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		dir := t.TempDir()
		write(t, dir, "portico.toml", "hosts = [\""+name+".test\"]\n[tls]\nmode = \"internal\"\n")
		write(t, dir, "index.html", `<script>seen = []; addEventListener("message", e => seen.push(e.data))</script>
<iframe id="frame" src="https://framed.test:`+port+`/"></iframe>`)
		p.Must("deploy", name, dir)
	}
	settled(t, p, "framed", 2)
	b := harness.StartBrowser(t, "--host-resolver-rules=MAP *.test 127.0.0.1", "--test-third-party-cookie-phaseout")
	// show loads the frame in a page of each of the two sites ten times, and returns the servers that answered.
	show := func() (servers []string) {
		t.Helper()
		for _, name := range []string{"one", "two"} {
			b.Open("https://" + name + ".test:" + port + "/")
			for i := range 10 {
				b.WaitFor(fmt.Sprintf("window.seen?.length > %d", i))
				b.Eval(`document.querySelector("#frame").src += "?"`)
			}
			servers = append(servers, b.Eval(`seen.slice(0, 10).join(" ")`))
		}
		return servers
	}
	for _, seen := range show() {
		if each := strings.Fields(seen); strings.Count(seen, each[0]) != len(each) {
			t.Errorf("a frame's session moved: %s", seen)
		}
	}
	var list struct {
		Total int `json:"total"`
	}
	p.JSON(&list, "sessions", "framed", "--list", "--json")
	if list.Total != 2 {
		t.Errorf("%d sessions in frames of two sites", list.Total)
	}
	p.Must("sites", "set", "framed", "session.partitioned=false", "session.cookie=other")
	show()
	if kept := b.Cookies(); kept["portico-framed"] != 2 || kept["other"] != 0 {
		t.Errorf("the browser keeps %v: want two that are partitioned, and none without that", kept)
	}
}
