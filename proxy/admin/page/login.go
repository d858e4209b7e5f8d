package page

import (
	"net/http"

	"portico/internal/refusal"
)

// Login asks who somebody is. refused says why the last answer did not do, next where they
// wanted to go.
func (p *Page) Login(w http.ResponseWriter, status int, refused, next string) error {
	return p.show(w, status, "login", struct {
		Title, Error, Next string
		Refresh            bool
	}{Title: "Log in · portico", Error: refused, Next: next})
}

// Error tells a browser what the API would tell a program.
func (p *Page) Error(w http.ResponseWriter, e *refusal.Error) error {
	return p.show(w, e.Status, "error", struct {
		Title, Heading, Error, Hint string
		Refresh                     bool
	}{Title: "portico", Heading: http.StatusText(e.Status), Error: e.Message, Hint: e.Hint})
}
