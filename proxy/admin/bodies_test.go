package admin_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// lateReader takes its time for each read.
type lateReader struct {
	io.Reader
	took time.Duration
}

func (r *lateReader) Read(b []byte) (int, error) {
	time.Sleep(r.took)
	return r.Reader.Read(b)
}

// TestBodies is D6: limits on each route that takes a body.
func TestBodies(t *testing.T) {
	e := start(t, nil)
	big := `{"label":"` + strings.Repeat("x", 2<<20) + `"}`
	for path, want := range map[string]int{"/v1/tokens": 413, "/v1/login": 413, "/v1/members/app-1/drain": 413, "/v1/sites/shop": 413} {
		if resp, _ := e.request("POST", path, e.tokens["admin"], big); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	if resp, _ := e.request("GET", "/v1/whoami", e.tokens["admin"], "surplus"); resp.StatusCode != 400 {
		t.Errorf("a body where none belongs: %d", resp.StatusCode)
	}
	for _, body := range []string{`{"label":1}`, `{"unknown":true}`, `{} {}`, `{"label":"a"`, `[]`} {
		if resp, _ := e.request("POST", "/v1/tokens", e.tokens["admin"], body); resp.StatusCode != 400 {
			t.Errorf("%s: %d", body, resp.StatusCode)
		}
	}
}

// TestSlowUploads is D6: a thousand uploads that bring nothing leave the API
// answering, and hold no more than their places.
func TestSlowUploads(t *testing.T) {
	e := start(t, nil)
	// Over HTTP/2, where a thousand uploads do not need a thousand connections.
	over := httptest.NewUnstartedServer(e.server.Config.Handler)
	over.EnableHTTP2 = true
	over.StartTLS()
	defer over.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	var closers []*io.PipeWriter
	const each = 125 // of a connection, that has room for twice as many
	var client *http.Client
	for i := range 1000 {
		if i%each == 0 {
			client = &http.Client{Transport: over.Client().Transport.(*http.Transport).Clone()}
			defer client.CloseIdleConnections()
			resp, err := client.Get(over.URL + "/healthz") // or all would connect at once
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
		client := client
		r, w := io.Pipe()
		closers = append(closers, w)
		wg.Go(func() {
			req, err := http.NewRequest("PUT", over.URL+"/v1/sites/shop/archive", r)
			if err != nil {
				return
			}
			req.Header.Set("Authorization", "Bearer "+e.tokens["deployer"])
			resp, err := client.Do(req)
			if err != nil {
				return
			}
			_ = resp.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			statuses[resp.StatusCode]++
		})
	}
	for range 20 {
		if resp, _ := e.request("GET", "/v1/stats", e.tokens["viewer"], ""); resp.StatusCode != 200 {
			t.Fatalf("during slow uploads: %d", resp.StatusCode)
		}
	}
	for _, w := range closers {
		_ = w.Close()
	}
	wg.Wait()
	if statuses[http.StatusServiceUnavailable] == 0 || statuses[http.StatusAccepted] == 0 {
		t.Errorf("answers %v: some should be told to come back", statuses)
	}
}
