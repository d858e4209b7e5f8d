package conf

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"portico/conf/sites"
)

// TestCookiesAreComparedWithTheirLike: of thousands of sites each is compared with those alone whose cookies have names like its own. Each
// was compared with all before it: a reload of 5,000 sites took seconds for that.
func TestCookiesAreComparedWithTheirLike(t *testing.T) {
	cookies, compared := map[string][]int{}, 0
	for i := range 5000 {
		name := fmt.Sprintf("portico-site%d", i)
		if i%1000 == 999 {
			name = fmt.Sprintf("portico-site%d-place", i-1)
		}
		compared += len(likeCookies(cookies, name))
		cookies[name] = append(cookies[name], i)
	}
	if compared != 5 {
		t.Errorf("%d comparisons, not 5", compared)
	}
}

// TestCookiesLike: the names that are looked up are those that the rule means.
func TestCookiesLike(t *testing.T) {
	site := func(cookie string) sites.Settings {
		return sites.Settings{Front: sites.Front{Hosts: []string{"a.test"}, Path: "/", Session: sites.Session{Sticky: sites.StickyCookie, Cookie: cookie}}}
	}
	names := []string{"a", "a-place", "a-notice", "a-place-notice", "a-place-place", "b", "-place", "place"}
	for _, mine := range names {
		for _, theirs := range names {
			shared := sites.SharedCookie(site(mine), site(theirs)) != ""
			if found := len(likeCookies(map[string][]int{theirs: {0}}, mine)) > 0; found != shared {
				t.Errorf("%q and %q: found %v, shared %v", mine, theirs, found, shared)
			}
		}
	}
}

// TestCookiesTooLike: the refusal names each such site that comes before, in the file's order.
func TestCookiesTooLike(t *testing.T) {
	var text strings.Builder
	for i, cookie := range []string{"a-place", "b", "a-notice", "a"} {
		fmt.Fprintf(&text, "[[site]]\nname = \"s%d\"\nhosts = [\"a.test\"]\npath = \"/%d\"\nsession.cookie = %q\nupstream = [{name = \"one\", addr = \"192.0.2.1:80\"}]\n", i, i, cookie)
	}
	text.WriteString("[[site]]\nname = \"root\"\nhosts = [\"a.test\"]\nsession.cookie = \"b-place\"\nupstream = [{name = \"one\", addr = \"192.0.2.1:80\"}]\n")
	text.WriteString("[[site]]\nname = \"below\"\nhosts = [\"a.test\"]\npath = \"/x\"\nsession.cookie = \"b-place-notice\"\nupstream = [{name = \"one\", addr = \"192.0.2.1:80\"}]\n")
	_, err := Load([]byte(text.String()), "portico.toml", nil)
	var list Mistakes
	if !errors.As(err, &list) || len(list) != 2 || !strings.Contains(list[0].Message, `of site "s1"`) || !strings.Contains(list[1].Message, `of site "root"`) {
		t.Fatalf("%v", err)
	}
}
