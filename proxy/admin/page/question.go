package page

import (
	"net/http"
	"net/url"
	"strings"

	"portico/proxy/admin/api"
)

// Question is asked before something is done.
type Question struct {
	V        Verb
	About    Target
	Back     string // where the button was
	CSRF     string
	Member   *api.MemberInfo  // that waits for a decision
	Session  *api.SessionInfo // that is ended or moved
	Forecast *api.Forecast    // nil: there is none
	Unpinned *api.Forecast    // with --no-pin
}

// Ask shows a question; fragment leaves out all around it.
func (p *Page) Ask(w http.ResponseWriter, q *Question, fragment bool) error {
	name := "confirm"
	if fragment {
		name = "question"
	}
	return p.show(w, http.StatusOK, name, q)
}

// Title is the window's.
func (q *Question) Title() string { return q.V.Text + " " + q.About.String() + " · portico" }

// Question is the sentence with its target.
func (q *Question) Question() string { return strings.Replace(q.V.Question, "%s", q.About.String(), 1) }

// Target is the target's parts by name.
func (q *Question) Target() url.Values { return q.About.Fields() }

// Action is where the form goes.
func (q *Question) Action() string {
	if q.V.Upload {
		return "/stats/deploy"
	}
	return "/stats/act"
}

// Refresh reports that a question stands until it is answered.
func (q *Question) Refresh() bool { return false }
