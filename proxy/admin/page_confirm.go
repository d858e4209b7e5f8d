package admin

import (
	"net/url"

	"portico/proxy/admin/api"
)

// confirmView is a question before something is done.
type confirmView struct {
	Title, CSRF string
	Refresh     bool
	V           verbView
	Question    string
	Action      string // where the form goes
	Target      url.Values
	Back        string
	Member      *api.MemberInfo
	Session     *api.SessionInfo
	Forecast    *api.Forecast
	Unpinned    *api.Forecast // with --no-pin
}
