package deployhook_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"portico/conf"
	"portico/conf/sites"
	"portico/deployhook"
	"portico/deployhook/objects"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// manifest is a site of kind run with this portico.toml.
func manifest(text string) map[string]string {
	return map[string]string{"portico.toml": text, "server": "#!/bin/sh", "index.html": "<p>"}
}

// TestUploadRefusals: what is refused, with which status and words; names of sites as in D12.
func TestUploadRefusals(t *testing.T) {
	c := newCluster(t, func(o *deployhook.Options) {
		o.Upload = conf.Upload{Archive: 200_000, Unpacked: 500_000, File: 400_000, Files: 50}
	})
	c.deploy("other", map[string]string{"portico.toml": `hosts = ["taken.example.com"]`, "a": "1"}, catalog.DeploySucceeded)
	good := zipped(t, map[string]string{"index.html": "<p>"})
	sum := sha256.Sum256(good)
	many := map[string]string{}
	for i := range 60 {
		many[fmt.Sprint("f", i)] = "x"
	}
	huge := map[string]string{"zeros": strings.Repeat("0", 450_000)}
	for _, u := range []struct {
		what, site, query string
		body              []byte
		header            []string
		status            int
		say               []string
	}{
		{"no account", "shop", "", good, []string{"Account", ""}, 401, []string{"needs an account"}},
		{"site dot-dot", "..%2fx", "", good, nil, 400, []string{"site name"}},
		{"site capitals", "Shop", "", good, nil, 400, []string{"site name"}},
		{"site option", "-rf", "", good, nil, 400, []string{"site name"}},
		{"site device", "con", "", good, nil, 400, []string{"device"}},
		{"site long", strings.Repeat("s", 300), "", good, nil, 400, []string{"site name"}},
		{"site twin", "sh%D0%BEp", "", good, nil, 400, []string{"site name"}},
		{"empty body", "shop", "", nil, nil, 400, []string{"no body"}},
		{"no archive", "shop", "", []byte(strings.Repeat("hello ", 500)), nil, 422, []string{"not a zip"}},
		{"over the upload limit", "shop", "", make([]byte, 200_001), nil, 413, []string{"200000"}},
		{"over the file limit", "shop", "", zipped(t, huge), nil, 413, []string{"zeros", "400000"}},
		{"over the entry limit", "shop", "", zipped(t, many), nil, 413, []string{"50"}},
		{"dot-dot", "shop", "", zipped(t, map[string]string{"../../evil": "x", "a": "y"}), nil, 422, []string{"../../evil", "nothing was installed"}},
		{"unknown query", "shop", "hosts=x", good, nil, 400, []string{"hosts", "known are"}},
		{"bad wait", "shop", "wait=soon", good, nil, 400, []string{"soon"}},
		{"bad dry run", "shop", "dry_run=perhaps", good, nil, 400, []string{"perhaps"}},
		{"bad kind", "shop", "kind=docker", good, nil, 422, []string{"kind"}},
		{"bad host", "shop", "host=a_b!", good, nil, 422, []string{"a_b!"}},
		{"host of another site", "shop", "host=taken.example.com", good, nil, 409, []string{"taken.example.com", "other"}},
		{"two mistakes at once", "shop", "", zipped(t, manifest("runn = [\"x\"]\n[health]\nrise = \"two\"\n")), nil, 422, []string{"runn", "rise", "portico.toml:1"}},
		{"settings and files at once", "shop", "", zipped(t, manifest("run = [\"./serverr\"]\n[deploy]\nbefore = [\"bin/migrate\"]\n[session]\nsticky = \"glue\"\n")), nil, 422, []string{"./serverr", "bin/migrate", "portico.toml:1:1: run", "portico.toml:3:1: deploy.before", "portico.toml:5:10: session.sticky"}},
		{"values that cannot be", "shop", "", zipped(t, manifest("data = [\"up\",\n  \"../x\"]\n[health]\npath = \"healthz\"\n")), nil, 422, []string{"portico.toml:2:3: data[1] = ", "portico.toml:4:8: health.path"}},
		{"a bad flag beside a bad line", "shop", "host=a_b!", zipped(t, manifest("policy = \"best\"\n")), nil, 422, []string{"--host: ", "portico.toml:1:10: policy"}},
		{"hook without port", "shop", "", zipped(t, manifest("kind = \"hook\"\n")), nil, 422, []string{"port"}},
		{"tomcat without war", "shop", "kind=tomcat", good, nil, 422, []string{".war"}},
		{"public that is not there", "shop", "", zipped(t, manifest("public = \"dist\"\n")), nil, 422, []string{"dist", "portico.toml:1:10"}},
		{"all excluded", "shop", "", zipped(t, map[string]string{".git/config": "x"}), nil, 422, []string{"nothing is left"}},
		{"content digest", "shop", "", good, []string{"Content-Digest", "sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":"}, 422, []string{"SHA-256"}},
		{"old digest", "shop", "", good, []string{"Digest", "md5=xyz, SHA-256=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}, 422, []string{"SHA-256"}},
		{"broken digest", "shop", "", good, []string{"Content-Digest", "sha-256=:nope:"}, 400, []string{"Content-Digest"}},
	} {
		a := c.upload(u.site, u.query, bytes.NewReader(u.body), u.header...)
		if a.status != u.status {
			t.Errorf("%s: got %d: %s", u.what, a.status, a.text)
		}
		for _, say := range u.say {
			if !strings.Contains(a.text, say) {
				t.Errorf("%s: the answer lacks %q: %s", u.what, say, a.text)
			}
		}
		if c.catalog.View().Sites["shop"] != nil {
			t.Fatalf("%s: the site can be seen", u.what)
		}
	}
	c.wantClean()
	a := c.upload("shop", "wait=1", bytes.NewReader(good), "Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	if a.status != 200 {
		t.Errorf("the right digest got %d: %s", a.status, a.text)
	}
}

// wantClean demands that no upload left a file.
func (c *cluster) wantClean() {
	c.t.Helper()
	for _, dir := range []string{"uploads", "objects/tmp"} {
		c.eventually(dir+" is empty", func() bool {
			list, err := os.ReadDir(filepath.Join(c.dir, filepath.FromSlash(dir)))
			return err == nil && len(list) == 0
		})
	}
}

func TestUploadIsChunkedOrNot(t *testing.T) {
	c := newCluster(t)
	body := zipped(t, map[string]string{"index.html": "<p>"})
	a := c.upload("shop", "wait=true&name=C:\\sites\\shop.zip", io.MultiReader(bytes.NewReader(body))) // no length
	if a.status != 200 || c.catalog.View().Releases["shop"][a.Release].Archive != "shop.zip" {
		t.Errorf("got %d: %s", a.status, a.text)
	}
}

// TestInterruptedUploadLeavesNothing: half an upload is none (D7).
func TestInterruptedUploadLeavesNothing(t *testing.T) {
	c := newCluster(t)
	body := noise(t, 1)
	for _, head := range []string{
		fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)),
		"Transfer-Encoding: chunked\r\n\r\nfffff\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "PUT /v1/sites/shop/archive HTTP/1.1\r\nHost: x\r\nAccount: ann\r\n%s", head)
		if _, err := conn.Write(body[:len(body)/2]); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c.wantClean()
	if v := c.catalog.View(); len(v.Sites)+len(v.Deploys)+len(v.Releases) != 0 {
		t.Error("half an upload can be seen")
	}
	if n := c.held(); n != 0 {
		t.Errorf("%d objects are left", n)
	}
}

func TestSlowUploadsLeaveTheRestAnswering(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	var conns []net.Conn
	for range 200 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		fmt.Fprintf(conn, "PUT /v1/sites/slow/archive HTTP/1.1\r\nHost: x\r\nAccount: ann\r\nContent-Length: 100000\r\n\r\nPK\x03\x04")
	}
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	// Beyond the uploads that may run, the answer is "come again", at once. Asked by dry runs: an upload that came before the slow ones
	// would begin a deploy, and its site is busy with that.
	c.eventually("too many uploads are turned away", func() bool {
		a := c.upload("shop", "dry_run=1", bytes.NewReader(zipped(t, map[string]string{"a": "b"})))
		return a.status == http.StatusServiceUnavailable
	})
	// Agents and readers are served all the while.
	var w messages.Wanted
	ctx, cancel := context.WithTimeout(t.Context(), waitTime)
	defer cancel()
	if err := c.agent("web1").get(ctx, c.url+"/v1/agent/wanted", &w); err != nil {
		t.Errorf("an agent is not answered: %v", err)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	c.eventually("uploads are taken again", func() bool {
		return c.upload("shop", "", bytes.NewReader(zipped(t, map[string]string{"a": "b"}))).status == http.StatusAccepted
	})
}

// treeOf returns the paths of a release, executable ones with a star.
func (c *cluster) treeOf(release string) []string {
	c.t.Helper()
	tree, err := c.objects.Tree(release, objects.TreeLimits())
	if err != nil {
		c.t.Fatal(err)
	}
	var list []string
	for _, f := range tree.Files {
		if f.Exec {
			f.Path += "*"
		}
		list = append(list, f.Path)
	}
	return list
}

func TestWhatBecomesOfAnArchive(t *testing.T) {
	c := newCluster(t)
	for i, u := range []struct {
		what  string
		files map[string]string
		query string
		kind  sites.Kind
		want  []string
	}{
		{"static", map[string]string{"index.html": "1"}, "", sites.KindStatic, []string{"index.html"}},
		{"run, made executable", map[string]string{"portico.toml": `run = ["./bin/server"]`, "bin/server": "1"}, "", sites.KindRun, []string{"bin/server*", "portico.toml"}},
		{"run from the search path", map[string]string{"portico.toml": `run = ["node", "app.js"]`, "app.js": "1"}, "", sites.KindRun, []string{"app.js", "portico.toml"}},
		{"run for Windows", map[string]string{"portico.toml": `run = ["./server"]`, "server.exe": "1"}, "", sites.KindRun, []string{"portico.toml", "server.exe*"}},
		{"hook", map[string]string{"portico.toml": "[hook]\nport = 8080\ninstall = [\"./put.sh\"]", "put.sh": "1"}, "", sites.KindHook, []string{"portico.toml", "put.sh*"}},
		{"war in an archive", map[string]string{"portico.toml": "", "app.war": "PK"}, "", sites.KindTomcat, []string{"app.war", "portico.toml"}},
		{"war itself", map[string]string{"WEB-INF/web.xml": "<x/>", "index.jsp": "1"}, "name=whatever.war", sites.KindTomcat, []string{"site6.war"}},
		{"pages for Tomcat", map[string]string{"portico.toml": `kind = "tomcat"`, "index.jsp": "1"}, "", sites.KindTomcat, []string{"index.jsp", "portico.toml"}},
		{"wrapped with a manifest", map[string]string{"site-main/portico.toml": "", "site-main/a/b": "1"}, "", sites.KindStatic, []string{"a/b", "portico.toml"}},
		{"one folder without a manifest", map[string]string{"public/index.html": "1"}, "", sites.KindStatic, []string{"public/index.html"}},
		{"exclude and data", map[string]string{"portico.toml": "data = [\"uploads\"]\nexclude = [\"*.log\", \"/tmp\"]", "uploads/x": "1", "a.log": "1", "d/b.log": "1", "tmp/x": "1", ".git/HEAD": "1", "index.html": "1", "uploadsX": "1"}, "", sites.KindStatic, []string{"index.html", "portico.toml", "uploadsX"}},
	} {
		site := fmt.Sprint("site", i)
		a := c.upload(site, "wait=1&path=/"+site+"&"+u.query, bytes.NewReader(zipped(t, u.files)))
		if a.status != 200 {
			t.Errorf("%s: got %d: %s", u.what, a.status, a.text)
			continue
		}
		if got := c.treeOf(a.Release); !slices.Equal(got, u.want) {
			t.Errorf("%s: the release holds %q, want %q", u.what, got, u.want)
		}
		if s := c.site(site); s.Manifest.Kind != u.kind || a.ArchiveAnswer.Settings.Path != "/"+site {
			t.Errorf("%s: kind %q, path %q", u.what, s.Manifest.Kind, a.ArchiveAnswer.Settings.Path)
		}
	}
	// A folder that is a web application, as the command packs it, stays what it is.
	folder := c.upload("folder", "wait=1&path=/folder", bytes.NewReader(tarred(t, map[string]string{"portico.toml": "", "WEB-INF/web.xml": "<x/>", "index.html": "1"})))
	if got, kind := c.treeOf(folder.Release), c.site("folder").Manifest.Kind; folder.status != 200 || kind != sites.KindTomcat || !slices.Equal(got, []string{"WEB-INF/web.xml", "index.html", "portico.toml"}) {
		t.Errorf("a folder with WEB-INF: %d, kind %q, %q: %s", folder.status, kind, got, folder.text)
	}
	// One that Tomcat could not be given is refused before anybody hears of it.
	plain := c.upload("plain", "wait=1&path=/plain", bytes.NewReader(tarred(t, map[string]string{"portico.toml": `kind = "tomcat"`, "index.html": "1"})))
	if plain.status != 422 || !strings.Contains(plain.text, "no web application") {
		t.Errorf("a plain folder for Tomcat: %d %s", plain.status, plain.text)
	}
	// The WAR is kept byte for byte, with its manifest inside.
	war := zipped(t, map[string]string{"WEB-INF/web.xml": "<x/>", "WEB-INF/portico.toml": `hosts = ["war.example.com"]`})
	a := c.upload("war", "wait=1", bytes.NewReader(war))
	tree, err := c.objects.Tree(a.Release, objects.TreeLimits())
	if err != nil || len(tree.Files) != 1 || tree.Files[0].Digest != objects.Sum(war) || !slices.Equal(c.site("war").Manifest.Hosts, []string{"war.example.com"}) {
		t.Errorf("the WAR became %+v, %v, %s", tree, err, a.text)
	}
}

// tarred packs files as the command packs a folder, but for the compression.
func tarred(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(text)), Mode: 0o644})
		if _, werr := io.WriteString(w, text); errors.Join(err, werr) != nil {
			t.Fatal(errors.Join(err, werr))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFlagsOverrideTheManifest(t *testing.T) {
	c := newCluster(t)
	q := url.Values{"host": {"B.example.com,c.example.com", "b.example.com"}, "path": {"/x"}, "wait": {"1"}}
	a := c.upload("shop", q.Encode(), bytes.NewReader(zipped(t, map[string]string{"portico.toml": "hosts = [\"a.example.com\"]\npath = \"/y\"", "i": "1"})))
	m := c.site("shop").Manifest
	if a.status != 200 || !slices.Equal(m.Hosts, []string{"b.example.com", "c.example.com"}) || m.Path != "/x" {
		t.Errorf("got %d, hosts %q, path %q", a.status, m.Hosts, m.Path)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	d := c.deploy("shop", map[string]string{"a": "1", "b": "2"}, catalog.DeploySucceeded)
	c.mu.Lock()
	c.load[c.instanceOf("web1", d.Release)] = [2]int{42, 1}
	c.mu.Unlock()
	n := c.held()
	revision := c.catalog.View().Revision
	a := c.upload("shop", "dry_run=1", bytes.NewReader(zipped(t, map[string]string{"a": "1", "b": "changed"})))
	if a.status != 200 || !a.DryRun || a.ID != "" || a.Changed != 1 || a.Ships != 7 || a.Files != 2 || a.Keeps != 42 || a.Release == d.Release {
		t.Errorf("got %d: %s", a.status, a.text)
	}
	if c.held() != n || c.catalog.View().Revision != revision {
		t.Error("a dry run changed something")
	}
	c.wantClean()
}

func TestWaitTellsTheFailure(t *testing.T) {
	c := newCluster(t)
	c.join("web1")
	c.agent("web1").change(func(a *agent) { a.sick["*"] = true })
	a := c.upload("shop", "wait=30s", bytes.NewReader(zipped(t, map[string]string{"a": "1"})))
	if a.status != 422 || !strings.Contains(a.text, "deploy_failed") || !strings.Contains(a.text, "web1: the check failed") {
		t.Errorf("got %d: %s", a.status, a.text)
	}
	c.agent("web1").change(func(a *agent) { delete(a.sick, "*"); a.stuck = true })
	a = c.upload("shop", "wait=50ms", bytes.NewReader(zipped(t, map[string]string{"a": "2"})))
	if a.status != 202 || a.State != catalog.DeployRunning {
		t.Errorf("a wait that ran out got %d: %s", a.status, a.text)
	}
}

// What operators have set over a site is not blamed on its file.
func TestMistakesOfOverridesNameThem(t *testing.T) {
	c := newCluster(t)
	if a := c.upload("shop", "wait=1", bytes.NewReader(zipped(t, map[string]string{"index.html": "<p>", "dist/index.html": "<p>"}))); a.status != 200 {
		t.Fatalf("got %d: %s", a.status, a.text)
	}
	d, begun, err := c.Set(t.Context(), "shop", []byte(`{"public":"dist"}`), "")
	if err != nil || !begun {
		t.Fatal(begun, err)
	}
	if ended, err := c.Wait(t.Context(), d.ID); err != nil || ended.State != catalog.DeploySucceeded {
		t.Fatal(ended, err)
	}
	a := c.upload("shop", "", bytes.NewReader(zipped(t, map[string]string{"index.html": "<p>", "portico.toml": "public = \".\"\npolicy = \"best\"\n"})))
	for _, want := range []string{"portico sites set shop public=…: public = ", "portico.toml:2:10: policy"} {
		if a.status != 422 || !strings.Contains(a.text, want) {
			t.Errorf("got %d without %q: %s", a.status, want, a.text)
		}
	}
}
