package accesslog

import (
	"slices"
	"strings"
)

// secretParams are query parameters whose values are credentials by custom.
var secretParams = []string{
	"access_token", "api_key", "apikey", "auth", "code", "id_token", "jsessionid", "key", "password", "passwd", "pwd",
	"refresh_token", "secret", "session", "sessionid", "sid", "sig", "signature", "token",
}

// Redact hides what a target carries of credentials: values of well-known query
// parameters, and session ids written into the path (";jsessionid=").
func Redact(target string) string {
	if strings.IndexByte(target, '?') < 0 && strings.IndexByte(target, ';') < 0 {
		return target
	}
	path, query, hasQuery := strings.Cut(target, "?")
	if i := strings.Index(strings.ToLower(path), ";jsessionid="); i >= 0 {
		end := strings.IndexAny(path[i+1:], ";/")
		if end < 0 {
			path = path[:i] + ";jsessionid=***"
		} else {
			path = path[:i] + ";jsessionid=***" + path[i+1+end:]
		}
	}
	if !hasQuery {
		return path
	}
	var b strings.Builder
	b.WriteString(path)
	sep := byte('?')
	for pair := range strings.SplitSeq(query, "&") {
		b.WriteByte(sep)
		sep = '&'
		name, _, ok := strings.Cut(pair, "=")
		if ok && slices.Contains(secretParams, strings.ToLower(name)) {
			b.WriteString(name)
			b.WriteString("=***")
			continue
		}
		b.WriteString(pair)
	}
	return b.String()
}
