package admin

import (
	"net/http"
	"net/http/httptest"
)

// Patterns lists the routes of the table.
func Patterns() []string {
	var out []string
	for _, rt := range routes() {
		out = append(out, rt.Pattern)
	}
	return out
}

// RouteOf returns the pattern that serves a request.
func RouteOf(method, target string) string {
	mux := http.NewServeMux()
	for _, rt := range routes() {
		mux.HandleFunc(rt.Pattern, func(http.ResponseWriter, *http.Request) {})
	}
	r := httptest.NewRequest(method, target, nil)
	if len(r.URL.Path) > 7 && r.URL.Path[:7] == "/stats;" {
		r.URL.Path = "/stats"
	}
	_, pattern := mux.Handler(r)
	return pattern
}
