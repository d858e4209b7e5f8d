package accesslog

// AppendJSON is one line of the access log as JSON.
func AppendJSON(b []byte, r *Record) []byte {
	var w words
	return appendJSON(b, r, &w)
}
