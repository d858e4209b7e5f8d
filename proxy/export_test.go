package proxy

import "time"

// AcceptKey is for servers that tests run.
var AcceptKey = acceptKey

// CheckProfile reports whether a profile compiles.
func CheckProfile(text string) error {
	_, err := parseProfile(text)
	return err
}

// ProfileCount is how many products are known.
func ProfileCount() int { return len(profiles) }

// KeepLasting notes at now that the engine's streams are in use.
func (s *Server) KeepLasting(now time.Time) { s.lasting.keep(now) }

// AppendJSON is one line of the access log as JSON.
func AppendJSON(b []byte, r *Record) []byte {
	var w words
	return appendJSON(b, r, &w)
}
