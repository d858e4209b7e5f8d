package agent

import (
	"encoding/json"
	"net/http"
	"slices"

	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

// serveAgent answers proxies about this member.
func (a *Agent) serveAgent(w http.ResponseWriter, r *http.Request) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"member": a.o.Name, "version": a.o.Version, "revision": a.Wanted().Revision})
	})
	mux.HandleFunc("GET /v1/logs/{site}", a.logs.Serve)
	mux.Handle("GET "+messages.ChecksPath, a.checks)
	mux.ServeHTTP(w, r)
}

// sharedWith reports whether another application server may have a release's files. It may
// if both run the release, by what a proxy has said.
func (a *Agent) sharedWith(name, files string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.wanted.Releases, func(r messages.WantedRelease) bool {
		return ids.FilesOf(r.Release) == files && (r.Servers == nil || slices.Contains(r.Servers, name))
	})
}
