package tests

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/deployhook"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
	"portico/tests/harness"
)

// pageOf logs the administrator "night" in and opens the page.
func pageOf(t *testing.T, p *harness.Proxy) *harness.Browser {
	t.Helper()
	p.Must("account", "add", "night", "--role", "admin", "--password-file", writeFile(t, "password", "correct horse battery"))
	b := harness.StartBrowser(t)
	b.Open("https://" + p.Admin + "/stats")
	b.WaitFor(`document.querySelector("input[type=password]")`)
	b.Eval(`document.querySelector("input[name=account]").value = "night";
		document.querySelector("input[type=password]").value = "correct horse battery";
		document.querySelector("form").requestSubmit()`)
	b.WaitFor(`document.querySelector("#live")`)
	return b
}

// ask clicks the button whose address holds all of parts, waits for its question and returns what it says.
func ask(b *harness.Browser, parts ...string) string {
	selector := "a[data-ask]"
	for _, part := range parts {
		selector += fmt.Sprintf("[href*=%q]", part)
	}
	b.WaitFor("document.readyState === 'complete' && document.querySelector(`" + selector + "`)")
	b.Eval("document.querySelector(`" + selector + "`).click()")
	b.WaitFor(`document.querySelector("dialog[open] form.question")`)
	return b.Eval(`document.querySelector("dialog[open]").innerText`)
}

// confirmed answers the open question with yes and waits for the banner.
func confirmed(b *harness.Browser, banner string) {
	b.Eval(`document.querySelector("dialog[open] button.primary").click()`)
	b.WaitFor(fmt.Sprintf(`document.querySelector("[role=status]")?.innerText.includes(%q)`, banner))
}

// TestPageButtonsInBrowser presses every button of a site in a real browser and looks at the cluster for the effect.
func TestPageButtonsInBrowser(t *testing.T) {
	harness.Need(t, "node")
	p := harness.StartProxy(t)
	p.AddServer("server-1")
	p.AddServer("server-2")
	p.Must("deploy", "shop", harness.App("node"), "--host", "shop.example.com")
	p.Must("sites", "set", "shop", "limits.memory=900TiB") // which no machine has free
	settled(t, p, "shop", 2)
	vs, seen := visitors(t, p.HTTP, "shop.example.com", "/", 6)
	first := current(releases(p, "shop"))
	second := changed(t, harness.App("node"), "news.txt", "second")
	if out := p.Must("deploy", "shop", second, "--dry-run"); !strings.Contains(out, "of memory free") || !strings.Contains(out, "--no-pin") || !strings.Contains(out, "6 sessions would stay") {
		t.Errorf("a dry run on a server that is short of memory says:\n%s", out)
	}
	out := p.Must("deploy", "shop", second)
	if warned, uploaded := strings.Index(out, "warning: "), strings.Index(out, "uploaded and unpacked"); warned < 0 || uploaded < warned || strings.Count(out, "of memory free") != 2 {
		t.Errorf("a deploy on two servers that are short of memory should warn once of each before it uploads:\n%s", out)
	}
	settled(t, p, "shop", 2)
	newer, _ := visitors(t, p.HTTP, "shop.example.com", "/", 2)

	b := pageOf(t, p)
	site := "https://" + p.Admin + "/stats/sites/shop"

	// The keyboard alone: Enter opens the question with the focus in it, Escape leaves it.
	b.Open(site)
	b.WaitFor(`document.readyState === "complete" && document.querySelector('a[data-ask][href*="verb=remove"]')`)
	b.Eval(`document.querySelector('a[data-ask][href*="verb=remove"]').focus()`)
	b.Press("Enter")
	b.WaitFor(`document.querySelector("dialog[open]")?.contains(document.activeElement)`)
	if text := b.Eval(`document.querySelector("dialog[open]").innerText`); !strings.Contains(text, "would cut 8 sessions") {
		t.Errorf("the question before a removal says %q", text)
	}
	if label := b.Eval(`document.getElementById(document.querySelector("dialog").getAttribute("aria-labelledby"))?.innerText`); !strings.Contains(label, "Remove the site shop") {
		t.Errorf("the dialog is labelled %q", label)
	}
	b.Press("Escape")
	b.WaitFor(`!document.querySelector("dialog[open]")`)

	shots := pictures(t)
	b.Scheme("light")
	b.Screenshot(filepath.Join(shots, "site-light.png"))
	b.Scheme("dark")
	b.Screenshot(filepath.Join(shots, "site-dark.png"))

	// Sessions: found by id, by cookie, moved and ended.
	list := sessionList(p, "shop")
	one := list.Sessions[0].ID
	b.Open(site + "?find=" + one)
	b.WaitFor(fmt.Sprintf(`document.querySelectorAll('a[href*="verb=end"]').length === 1 && document.body.innerText.includes(%q)`, one))
	if text := ask(b, "verb=move", "session="+one); !strings.Contains(text, "Move session "+one) {
		t.Errorf("the question says %q", text)
	}
	confirmed(b, "moves with its next request")
	b.Open(site + "?find=" + one)
	ask(b, "verb=end", "session="+one)
	confirmed(b, "has ended")
	for _, in := range sessionList(p, "shop").Sessions {
		if in.ID == one && (!in.Ended || !in.Moving) {
			t.Errorf("after move and end: %+v", in)
		}
	}

	// An instance: drained and taken back.
	b.Open(site)
	ask(b, "verb=drain", "instance=")
	b.Eval(`document.querySelector("dialog[open] input[name=deadline]").value = "2h"`)
	confirmed(b, "drains: it keeps its sessions")
	if drains := drainList(p); !hasDrain(drains, deployhook.DrainInstance) {
		t.Errorf("no instance drains: %+v", drains)
	}
	ask(b, "verb=ready", "instance=")
	confirmed(b, "takes new visitors again")
	if drains := drainList(p); hasDrain(drains, deployhook.DrainInstance) {
		t.Errorf("an instance still drains: %+v", drains)
	}

	// The former release: its drain changed, the numbers shown, then back to it.
	b.Open(site)
	ask(b, "verb=drain", "release="+first)
	b.Eval(`document.querySelector("dialog[open] input[name=deadline]").value = "3h"`)
	confirmed(b, "has changed")
	for _, d := range drainList(p) {
		if left := time.Until(d.Deadline); d.Kind == deployhook.DrainRelease && (left < 2*time.Hour || left > 3*time.Hour) {
			t.Errorf("the release's deadline is in %s", left)
		}
	}
	if text := ask(b, "verb=rollback", "release="+first); !strings.Contains(text, "stay until they end") || !strings.Contains(text, "of memory free") {
		t.Errorf("the question before a rollback says %q", text)
	}
	b.Scheme("light")
	b.Screenshot(filepath.Join(shots, "question-light.png"))
	confirmed(b, "has begun")
	harness.Eventually(t, time.Minute, func() error {
		if got := releases(p, "shop"); current(got) != first {
			return errf("the site runs %.12s", current(got))
		}
		return nil
	})
	settled(t, p, "shop", 2)
	b.Open(site)
	ask(b, "verb=cut", "release=")
	confirmed(b, "ends now")
	harness.Eventually(t, time.Minute, func() error {
		if drains := drainList(p); hasDrain(drains, deployhook.DrainRelease) {
			return errf("a release still drains: %+v", drains)
		}
		return nil
	})
	stayers := 0
	for i, v := range vs {
		if got := v.Get("/"); got.Views == seen[i].Views+1 {
			stayers++
		}
	}
	if stayers < len(vs)-1 {
		t.Errorf("of the first release's %d visitors %d have their session, and one was ended", len(vs), stayers)
	}
	if got := newer[0].Get("/"); got.Lost == "" && got.Views > 1 {
		t.Errorf("a visitor of the release that was cut is as before: %+v", got)
	}

	// A deploy by the page, one that never gets healthy, and its cancel; a server's drain and its end.
	b.Open(site)
	ask(b, "verb=deploy", "site=shop")
	b.Eval(`(() => { const d = new DataTransfer();
		d.items.add(new File([Uint8Array.from(atob("` + sleeperZip(t) + `"), c => c.charCodeAt(0))], "sleeper.zip"));
		document.querySelector("dialog[open] input[type=file]").files = d.files })()`)
	confirmed(b, "has begun")
	ask(b, "verb=cancel", "site=shop")
	confirmed(b, "was cancelled")
	var deploys []catalog.Deploy
	p.JSON(&deploys, "deploys", "shop", "--json")
	if d := deploys[0]; d.State != catalog.DeployFailed || !strings.Contains(d.Error, "cancel") {
		t.Errorf("after the cancel: %s %q", d.State, d.Error)
	}
	b.Open("https://" + p.Admin + "/stats")
	ask(b, "verb=drain", "member=server-2")
	confirmed(b, "server-2 drains")
	if !hasDrain(drainList(p), deployhook.DrainMember) {
		t.Error("server-2 does not drain")
	}
	b.WaitFor(`document.readyState === "complete" && document.querySelector('[aria-labelledby="h-drains"] a[data-ask][href*="verb=ready"]')`)
	b.Eval(`document.querySelector('[aria-labelledby="h-drains"] a[data-ask][href*="verb=ready"]').click()`)
	b.WaitFor(`document.querySelector("dialog[open] form.question")`)
	confirmed(b, "server-2 takes new visitors again")
	if hasDrain(drainList(p), deployhook.DrainMember) {
		t.Error("server-2 still drains")
	}

	// Without scripts the question is a page of its own.
	b.JavaScript(false)
	b.Open("https://" + p.Admin + "/stats/confirm?verb=remove&site=shop&back=/stats")
	b.JavaScript(true)
	if text := b.Eval("document.body.innerText"); !strings.Contains(text, "Remove the site shop") || !strings.Contains(text, "Sessions cut") {
		t.Errorf("the page of the question says %q", text)
	}
	b.Open(site)
	ask(b, "verb=remove", "site=shop")
	confirmed(b, "shop was removed")
	var sites []api.SiteInfo
	if p.JSON(&sites, "sites", "--json"); len(sites) != 0 {
		t.Errorf("the site is still there: %+v", sites)
	}
}

func releases(p *harness.Proxy, site string) (list []api.ReleaseInfo) {
	p.JSON(&list, "releases", site, "--json")
	return list
}

func current(list []api.ReleaseInfo) string {
	for _, r := range list {
		if r.Current {
			return r.Digest
		}
	}
	return ""
}

func sessionList(p *harness.Proxy, site string) (list api.SessionList) {
	p.JSON(&list, "sessions", site, "--list", "--json")
	return list
}

func drainList(p *harness.Proxy) (list []deployhook.Drain) {
	p.JSON(&list, "drain", "--json")
	return list
}

func hasDrain(list []deployhook.Drain, kind string) bool {
	for _, d := range list {
		if d.Kind == kind {
			return true
		}
	}
	return false
}

// sleeperZip is an archive, in base64, of a site whose process never answers.
func sleeperZip(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{
		"portico.toml": "run = [\"node\", \"-e\", \"setInterval(() => {}, 1000)\"]\nhosts = [\"shop.example.com\"]\n[health]\npath = \"/\"\n[deploy]\ntimeout = \"5m\"\n",
	} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, text)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}
