package proxy_test

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"testing"
	"time"

	"portico/balancer/seal"
	"portico/conf"
	"portico/conf/sites"
	"portico/proxy"
	"portico/tests/support/seals"
)

// A deploy ends with addresses that can be pasted: with the port that is listened on, over TLS
// where plain requests are sent there, and with a name where the site has none.
func TestURLs(t *testing.T) {
	t.Parallel()
	c := conf.Default().Proxy
	c.HTTP, c.HTTPS = "127.0.0.1:0", "0.0.0.0:0"
	s, err := proxy.New(proxy.Options{
		Conf: c, Keys: []seal.Key{seals.NewKey(1, time.Now())}, TLS: &tls.Config{},
		HasCertificate: func(host string) bool { return host == "safe.test" || host == "www.safe.test" },
	})
	if err != nil {
		t.Fatal(err)
	}
	set := sites.Settings{}.WithDefaults("shop")
	if urls := s.URLs(set, "here"); urls != nil {
		t.Errorf("before it listens: %v", urls)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	port := func(frontend string) string {
		_, p, err := net.SplitHostPort(s.Addr(frontend).String())
		if err != nil {
			t.Fatal(err)
		}
		return ":" + p
	}
	plain, secure := port("http"), port("https")
	for _, tt := range []struct {
		what string
		set  sites.Settings
		want []string
	}{
		{"no host", sites.Settings{}, []string{"http://127.0.0.1" + plain + "/"}},
		{"a host with a path", sites.Settings{Front: sites.Front{Hosts: []string{"hello.localhost"}, Path: "/shop"}}, []string{"http://hello.localhost" + plain + "/shop/"}},
		{"TLS", sites.Settings{Front: sites.Front{Hosts: []string{"safe.test", "*.safe.test", "other.test"}}}, []string{
			"https://safe.test" + secure + "/", "https://www.safe.test" + secure + "/", "http://other.test" + plain + "/"}},
		{"TLS off", sites.Settings{Front: sites.Front{Hosts: []string{"safe.test"}, TLS: sites.TLS{Mode: "off"}}}, []string{"http://safe.test" + plain + "/"}},
	} {
		if got := s.URLs(tt.set.WithDefaults("shop"), "here"); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.want)
		}
	}
}
