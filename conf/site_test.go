package conf_test

import (
	"strings"
	"testing"

	"portico/conf"
)

// A static site of the file has what the proxies need to know of any site, and nothing of what an agent runs.
func TestStaticSiteHasTheFrontAlone(t *testing.T) {
	const upstream = "upstream = [{name = \"one\", addr = \"192.0.2.1:80\"}]\n"
	c, err := conf.Load([]byte("[[site]]\nname = \"shop\"\nrewrite = []\npolicy = \"uri\"\n"+upstream+"[site.limits]\nconnections = 7\n[site.session]\nidle = \"1h\"\n"), "portico.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	set := c.Sites[0].Settings()
	if set.Rewrite == nil || len(set.Rewrite) > 0 || set.Policy != "uri" || set.Limits.Connections != 7 || set.Session.Idle.String() != "1h" || set.Session.Cookie != "portico-shop" {
		t.Errorf("%+v", set)
	}
	for text, want := range map[string]string{
		"kind = \"run\"\n":                   `unknown key "kind" in [[site]]: known are `,
		"run = [\"./shop\"]\n":               `unknown key "run" in [[site]]: known are `,
		"[site.env]\nA = \"1\"\n":            `unknown key "env" in [[site]]: known are `,
		"[site.deploy]\nkeep = 1\n":          `unknown key "deploy" in [[site]]: known are `,
		"[site.limits]\nmemory = \"1GiB\"\n": `unknown key "memory" in [site.limits]: known are body, connections, queue, rate`,
	} {
		_, err := conf.Load([]byte("[[site]]\nname = \"shop\"\n"+upstream+text), "portico.toml", nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
