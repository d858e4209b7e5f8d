package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"testing"

	"portico/conf"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/proxy"
)

// manySites is a view of n sites with 4 instances each.
func manySites(n int) *catalog.View {
	v := &catalog.View{Revision: 1, Sites: map[string]*catalog.Site{}, Members: map[string]*catalog.Member{}, Instances: map[string]*catalog.Instance{}}
	for i := range 4 {
		name := fmt.Sprint("m", i)
		v.Members[name] = &catalog.Member{Name: name, Admission: catalog.Accepted, Addr: "127.0.0.1:1"}
	}
	for i := range n {
		name := fmt.Sprint("site", i)
		v.Sites[name] = &catalog.Site{Name: name, Release: "r", Manifest: sites.Settings{Front: sites.Front{Hosts: []string{name + ".test", "www." + name + ".test"}}}}
		for k := range 4 {
			id := fmt.Sprintf("%s-%d", name, k)
			v.Instances[id] = &catalog.Instance{ID: id, Site: name, Release: "r", Member: fmt.Sprint("m", k), State: catalog.InstanceHealthy}
		}
	}
	return v
}

// BenchmarkUpdate is a change of one site of the catalog and of one of its instances among sites of 4 instances each. What the catalog
// does for it, a copy of both maps, is in it.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{20, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := proxy.New(options())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Shutdown(b.Context()) }()
			v := manySites(n)
			s.Update(v)
			b.ReportAllocs()
			for b.Loop() {
				next := *v
				next.Revision++
				next.Sites, next.Instances = maps.Clone(v.Sites), maps.Clone(v.Instances)
				site, instance := *v.Sites["site7"], *v.Instances["site7-1"]
				next.Sites["site7"], next.Instances["site7-1"] = &site, &instance
				v = &next
				s.Update(v)
			}
		})
	}
}

// BenchmarkFirstUpdate is what a start with 1,000 sites costs.
func BenchmarkFirstUpdate(b *testing.B) {
	v := manySites(1000)
	for b.Loop() {
		s, err := proxy.New(options())
		if err != nil {
			b.Fatal(err)
		}
		s.Update(v)
		b.StopTimer()
		_ = s.Shutdown(b.Context())
		b.StartTimer()
	}
}

// BenchmarkRequest is a whole sticky request over one connection, both ends included.
func BenchmarkRequest(b *testing.B) {
	addr := rawOrigin(b, serveRaw(func(*http.Request) string {
		return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	}))
	f := start(b, options(), site(addr))
	resp, _ := get(b, f.client(), "http://shop.test/")
	c, err := net.Dial("tcp", f.http)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	br := bufio.NewReader(c)
	request := fmt.Sprintf("GET / HTTP/1.1\r\nHost: shop.test\r\nCookie: %.69s\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", pinned(resp))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.WriteString(c, request); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}

// BenchmarkSetStatic is a configuration file in which one site of many differs.
func BenchmarkSetStatic(b *testing.B) {
	for _, n := range []int{20, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := proxy.New(options())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Shutdown(b.Context()) }()
			list := make([]conf.Site, n)
			for i := range list {
				list[i] = site("127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1")
				list[i].Name, list[i].Hosts = fmt.Sprint("site", i), []string{fmt.Sprint("site", i, ".test")}
			}
			s.SetStatic(list)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				list[7].Path = []string{"/", "/app"}[i%2]
				s.SetStatic(list)
			}
		})
	}
}
