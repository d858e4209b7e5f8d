package proxy_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestNothingSecretIsLogged: line L2.
func TestNothingSecretIsLogged(t *testing.T) {
	addr, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "s", Value: "SECRET1"})
	})
	f := start(t, options(), site(addr))
	_, _ = get(t, f.client(), "http://shop.test/p;jsessionid=SECRET2?a=1&token=SECRET3&Password=SECRET4&b=2", "Cookie", "a=SECRET5", "Authorization", "Bearer SECRET6", "Referer", "http://x.test/y?t=SECRET7")
	f.eventually("a line", func() bool { return strings.Contains(f.log.String(), "shop.test") })
	line := f.log.String()
	if regexp.MustCompile(`SECRET\d`).MatchString(line) {
		t.Errorf("logged: %s", line)
	}
	if !strings.Contains(line, `"target":"/p;jsessionid=***?a=1\u0026token=***\u0026Password=***\u0026b=2"`) {
		t.Errorf("target in %s", line)
	}
}
