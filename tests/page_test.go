package tests

import (
	"path/filepath"
	"strings"
	"testing"

	"portico/membership/catalog"
	"portico/tests/harness"
)

// The page in a real browser: log in, see the cluster, accept a machine, drain
// one with a confirmation, read it without scripts. PORTICO_SCREENSHOT names a
// folder that keeps the pictures.
func TestStatsPageInBrowser(t *testing.T) {
	t.Parallel()
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "shop", harness.App("node"), "--host", "shop.example.com")
	p.Must("deploy", "handbook", harness.App("static"), "--host", "docs.example.com")
	p.StartAgent("server-3")
	p.WaitMember("server-3", catalog.Pending)
	visitors(t, p.HTTP, "shop.example.com", "/", 25)

	b := harness.StartBrowser(t)
	b.Open("https://" + p.Admin + "/stats")
	b.WaitFor(`document.querySelector("input[type=password]")`)
	// What the page advises makes an account that can log in; the password comes from a file here.
	advice := strings.Fields(b.Eval(`document.querySelector("code").innerText`))
	for i, word := range advice {
		switch word {
		case "NAME":
			advice[i] = "night"
		case "viewer":
			advice[i] = "admin"
		case "--password":
			advice[i] = "--password-file=" + writeFile(t, "password", "correct horse battery")
		}
	}
	p.Must(advice[1:]...)
	b.Eval(`document.querySelector("input[name=account]").value = "night";
		document.querySelector("input[type=password]").value = "correct horse battery";
		document.querySelector("form").requestSubmit()`)
	b.WaitFor(`document.body.innerText.includes("server-1") && document.body.innerText.includes("shop")`)
	if text := b.Eval("document.body.innerText"); !strings.Contains(text, "server-3") || !strings.Contains(text, "handbook") {
		t.Errorf("the page does not show everything:\n%.3000s", text)
	}
	shots := pictures(t)
	b.Scheme("light")
	b.Screenshot(filepath.Join(shots, "stats-light.png"))
	b.Scheme("dark")
	b.Screenshot(filepath.Join(shots, "stats-dark.png"))

	p.Must("accept", "server-3")
	b.WaitFor(`document.querySelector('a[href*="member=server-3"][href*="verb=drain"]')`)

	b.JavaScript(false)
	b.Open("https://" + p.Admin + "/stats;csv")
	b.JavaScript(true)
	if text := b.Eval("document.body.innerText"); !strings.HasPrefix(text, "# pxname,svname,qcur") {
		t.Errorf("/stats;csv shows %.100q", text)
	}
}
