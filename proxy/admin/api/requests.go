package api

import (
	"time"
)

// ExplainQuery is a request that GET /v1/explain is asked about. Only URL is
// required.
type ExplainQuery struct {
	URL    string
	Method string   // default GET
	Header []string // "Name: value"
	Cookie string   // a whole Cookie field, or the value of the site's sticky cookie alone
	From   string   // address of the peer
}

// ExchangeQuery says which finished requests are asked for. The zero value means
// all that the proxy remembers.
type ExchangeQuery struct {
	Site   string
	Failed bool   // those that failed, were retried, or lost a session
	ID     string // begins so
	Client string // address of the visitor
	Limit  int    // 0: 50
}

// LogQuery says which log lines are asked for.
type LogQuery struct {
	Site     string
	Member   string    // empty: all application servers
	Instance string    // the beginning of an id, or "commands"; empty: any
	Release  string    // the beginning of a digest; empty: any
	Since    time.Time // zero: from the beginning
	Lines    int       // the last ones of each instance
	Follow   bool      // go on until ctx ends
	JSON     bool      // each line as a messages.LogLine
}

// MaxLogLines is how many lines of one instance may be asked for.
const MaxLogLines = 10000
