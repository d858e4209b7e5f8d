package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"portico/membership/catalog"
)

// A server from which another has taken over gets no views any more: who is not trusted is named to it, and the
// streams from there end at once, others go on.
func TestDistrustEndsStreams(t *testing.T) {
	w, agents := newWorld(t, "m1", "m2")
	for i, member := range []string{"m1", "m2"} {
		addr, _ := origin(t, func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/events" {
				return
			}
			rw.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprintf(rw, "%s\n", member)
			rw.(http.Flusher).Flush()
			for r.Context().Err() == nil {
				time.Sleep(20 * time.Millisecond) // the pace of the stream
				_, _ = fmt.Fprintln(rw, "more")
				rw.(http.Flusher).Flush()
			}
		})
		agents[member].route([]string{"one", "two"}[i], addr)
	}
	w.update(func(v *catalog.View) {
		v.Sites["shop"] = shop("r1")
		v.Instances["one"], v.Instances["two"] = instance("one", "m1", "r1"), instance("two", "m2", "r1")
	})
	w.rotation("one", true)
	w.rotation("two", true)
	streams := map[string]*bufio.Reader{}
	for deadline := time.Now().Add(waitTime); len(streams) < 2 && time.Now().Before(deadline); {
		resp, err := visitor(t, w.f).Get("http://shop.test/events")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		r := bufio.NewReader(resp.Body)
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if streams[line] != nil {
			_ = resp.Body.Close()
			continue
		}
		streams[line] = r
	}
	w.f.eventually("two streams are counted", func() bool { return w.f.Streams() == 2 })
	w.f.Distrust("m1")
	if _, err := io.ReadAll(streams["m1\n"]); err == nil {
		t.Error("a stream of a server that is not trusted ends as if it were whole")
	}
	w.f.eventually("one stream is left", func() bool { return w.f.Streams() == 1 })
	if line, err := streams["m2\n"].ReadString('\n'); err != nil || line != "more\n" {
		t.Errorf("the other brings %q: %v", line, err)
	}
}
