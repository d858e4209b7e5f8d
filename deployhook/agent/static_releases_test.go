package agent_test

import (
	"io"
	"net/http"
	"testing"

	"portico/membership/catalog/messages"
)

// TestStaticReleasesLendFiles: while a former release is still served, a file that only it has is found whichever of
// the two is asked; pages are not, and an unfinished release lends nothing.
func TestStaticReleasesLendFiles(t *testing.T) {
	c := newCluster(t)
	a := c.start(c.options(t.TempDir()))
	one := c.release(map[string]string{"index.html": "one", "old.html": "a page of one", "app.1.js": "script one", "app.1.js.gz": "coded one", "both.js": "both one", ".secret": "x"})
	two := c.release(map[string]string{"index.html": "two", "app.2.js": "script two", "both.js": "both two"})
	set := staticSettings(nil)
	c.want(current("docs", one, set))
	first := c.via(a.Addr(), c.awaitHealthy(one).ID+".instance")
	c.want(current("docs", one, set), candidate("docs", two, set, "d1"))
	second := c.via(a.Addr(), c.awaitHealthy(two).ID+".instance")

	code := func(client *http.Client, method, path string, header ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequest(method, "https://docs"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "identity") // the codings of this test are none
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}
	if resp, _ := code(first, "GET", "/app.2.js"); resp.StatusCode != 404 {
		t.Errorf("a release that is still being installed lends a file: %d", resp.StatusCode)
	}
	retiring := current("docs", one, set)
	retiring.Duty = messages.DutyRetiring
	c.want(current("docs", two, set), retiring)
	c.awaitInstance("lends", two, func(messages.InstanceReport) bool {
		resp, body := code(first, "GET", "/app.2.js")
		return resp.StatusCode == 200 && body == "script two"
	})
	for _, tt := range []struct {
		client *http.Client
		method string
		path   string
		header []string
		want   int
		body   string
	}{
		{second, "GET", "/app.1.js", nil, 200, "script one"},
		{second, "GET", "/app.1.js", []string{"Sec-Fetch-Dest", "script"}, 200, "script one"},
		{second, "GET", "/app.1.js", []string{"Accept-Encoding", "gzip"}, 200, "coded one"},
		{second, "GET", "/app.1.js", []string{"Range", "bytes=0-5"}, 206, "script"},
		{second, "HEAD", "/app.1.js", nil, 200, ""},
		{second, "GET", "/app.1.js", []string{"Sec-Fetch-Dest", "document"}, 404, "404 not found\n"},
		{second, "GET", "/old.html", nil, 404, "404 not found\n"},
		{second, "GET", "/.secret", nil, 404, "404 not found\n"},
		{second, "POST", "/app.1.js", nil, 405, "method not allowed\n"},
		{second, "GET", "/both.js", nil, 200, "both two"},
		{first, "GET", "/both.js", nil, 200, "both one"},
		{second, "GET", "/", nil, 200, "two"},
	} {
		resp, body := code(tt.client, tt.method, tt.path, tt.header...)
		if resp.StatusCode != tt.want || body != tt.body {
			t.Errorf("%s %s %v: %d %q, want %d %q", tt.method, tt.path, tt.header, resp.StatusCode, body, tt.want, tt.body)
		}
	}
	resp, _ := code(second, "GET", "/app.1.js")
	if again, _ := code(second, "GET", "/app.1.js", "If-None-Match", resp.Header.Get("ETag")); again.StatusCode != 304 {
		t.Errorf("a file that was lent is not revalidated: %d", again.StatusCode)
	}

	// A browser that holds the newer release's page must not take the older one's for unchanged after a rollback.
	resp, _ = code(second, "GET", "/")
	if date := resp.Header.Get("Last-Modified"); date != "" {
		t.Errorf("the page has a date, %s", date)
	}
	if back, body := code(first, "GET", "/", "If-None-Match", resp.Header.Get("ETag"), "If-Modified-Since", resp.Header.Get("Date")); back.StatusCode != 200 || body != "one" {
		t.Errorf("after a rollback: %d %q", back.StatusCode, body)
	}

	c.want(current("docs", two, set))
	c.awaitInstance("alone", two, func(messages.InstanceReport) bool {
		resp, _ := code(second, "GET", "/app.1.js")
		return resp.StatusCode == 404
	})
}
