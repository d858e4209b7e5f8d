package proxy_test

import (
	"net/http"
	"testing"

	"portico/proxy/explain"
)

// TestExplainH2C: what instances speak is told, with what a WebSocket needs.
func TestExplainH2C(t *testing.T) {
	addr, _ := origin(t, func(http.ResponseWriter, *http.Request) {})
	h2c := site(addr)
	h2c.Name, h2c.Hosts, h2c.Protocol = "calls", []string{"calls.test"}, "h2c"
	f := start(t, options(), site(addr), h2c)
	f.expect(explain.Ask{URL: "http://calls.test/"}, "protocol: h2c | instances speak HTTP/2; a WebSocket needs one that offers extended CONNECT")
	steps, _ := f.Explain(explain.Ask{URL: "http://shop.test/"})
	if _, found := told(steps, "protocol", "h2c"); found {
		t.Errorf("a site of HTTP/1.1: %v", steps)
	}
}
