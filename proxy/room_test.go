package proxy_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/balancer"
)

// TestWaitingRoom: with every seat taken, who has a session goes on, and newcomers
// stand in line: with a page that renews itself or JSON, in the order in which they
// came, with a place that a reload keeps.
func TestWaitingRoom(t *testing.T) {
	c := site(newApp(t, "a").addr, newApp(t, "b").addr)
	c.Session.Max = 1
	f := start(t, options(), c)
	const url = "http://shop.test/"
	inside := []*http.Client{visitor(t, f), visitor(t, f)}
	for _, v := range inside {
		if resp, body := get(t, v, url); resp.StatusCode != 200 {
			t.Fatalf("there is a seat, and the visitor got %s %s", resp.Status, body)
		}
	}

	first, second := visitor(t, f), visitor(t, f)
	resp, page := get(t, first, url, "Accept", "text/html,*/*")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "5" || !strings.Contains(page, `http-equiv="refresh" content="5"`) || !strings.Contains(page, "<b>1</b> of 1") {
		t.Fatalf("the first who waits got %s %v\n%s", resp.Status, resp.Header, page)
	}
	if set := resp.Header.Get("Set-Cookie"); !strings.HasPrefix(set, "portico-shop-place=") || !strings.Contains(set, "HttpOnly") {
		t.Errorf("the place is kept by %q", set)
	}
	came := time.Now().UnixMilli()
	f.eventually("the clock has moved on", func() bool { return time.Now().UnixMilli() > came })
	var answer struct {
		Error struct {
			Code                          string
			Position, Waiting, RetryAfter int
		}
	}
	for range 3 { // reloads
		resp, body := get(t, second, url, "Accept", "application/json")
		if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Fatalf("a program got %s %q: %v", resp.Status, body, err)
		}
		if answer.Error.Code != "waiting_room" || answer.Error.Position != 2 || answer.Error.Waiting != 2 {
			t.Fatalf("the second who waits is told %+v", answer)
		}
	}
	for _, v := range inside {
		if resp, _ := get(t, v, url); resp.StatusCode != 200 {
			t.Errorf("a visitor with a session got %s", resp.Status)
		}
	}

	table := f.Balancer().Sessions()
	list, _ := table.List("shop", 1, func(*balancer.SessionInfo) bool { return true })
	table.End(list[0].ID)
	if resp, _ := get(t, visitor(t, f), url); resp.StatusCode != 503 {
		t.Errorf("a newcomer passed those who wait: %s", resp.Status)
	}
	if resp, _ := get(t, second, url); resp.StatusCode != 503 {
		t.Errorf("the second passed the first: %s", resp.Status)
	}
	if resp, body := get(t, first, url); resp.StatusCode != 200 || len(resp.Cookies()) != 3 {
		t.Errorf("the seat is the first one's, who got %s %s with %v", resp.Status, body, resp.Cookies())
	}
	if resp, _ := get(t, first, url); resp.StatusCode != 200 {
		t.Errorf("who has got in is turned out: %s", resp.Status)
	}
}
