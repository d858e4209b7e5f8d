package accesslog

import "portico/proxy/exchange/account"

// AppendJSON is one line of the access log as JSON.
func AppendJSON(b []byte, r *account.Record) []byte {
	var w words
	return appendJSON(b, r, &w)
}
