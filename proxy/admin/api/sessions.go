package api

import (
	"fmt"
	"strings"
	"time"
)

// SessionCount is one line of GET /v1/sessions.
type SessionCount struct {
	Site       string `json:"site"`
	Instance   string `json:"instance"`
	Member     string `json:"member"`
	Release    string `json:"release"`
	State      string `json:"state"`
	Sessions   int64  `json:"sessions"`
	Recent     int64  `json:"recent"`               // used in the last five minutes
	Limit      int64  `json:"limit"`                // 0: none
	Recounting bool   `json:"recounting,omitempty"` // there may be more: a proxy has not been up for long
	Unpinned   bool   `json:"unpinned,omitempty"`   // of a static site: any other server continues them, no drain waits for them
}

// SessionList is the answer of GET /v1/sessions/{site}.
type SessionList struct {
	Site       string        `json:"site"`
	Total      int           `json:"total"`                // that match
	Recounting bool          `json:"recounting,omitempty"` // this proxy is too young to know them all
	Note       string        `json:"note,omitempty"`       // what there is to say of a cookie or token that was searched for
	Sessions   []SessionInfo `json:"sessions"`             // the most recently used, up to the limit
}

// SessionInfo is one session.
type SessionInfo struct {
	ID       string    `json:"id,omitempty"` // 16 hexadecimal digits; opens nothing. Empty: known by the application's token only
	Instance string    `json:"instance"`
	Member   string    `json:"member,omitempty"`
	Release  string    `json:"release,omitempty"`
	Started  time.Time `json:"started"`
	Used     time.Time `json:"used"`               // last
	Returned bool      `json:"returned,omitempty"` // seen more than once
	Ended    bool      `json:"ended,omitempty"`    // by an operator: its cookie will be refused
	Moving   bool      `json:"moving,omitempty"`   // by an operator: its next request is placed elsewhere
	Silent   []string  `json:"silent,omitempty"`   // proxies that did not answer when it was ended or moved
}

// Silence says which proxies did not take part.
func (in *SessionInfo) Silence() string {
	if len(in.Silent) == 0 {
		return ""
	}
	return fmt.Sprintf("; no answer from %s, where it goes on", strings.Join(in.Silent, ", "))
}
