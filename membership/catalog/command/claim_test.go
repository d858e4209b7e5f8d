package command_test

import (
	"errors"
	"strings"
	"testing"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

func TestCheckHosts(t *testing.T) {
	view := &catalog.View{Sites: map[string]*catalog.Site{
		"shop": {Name: "shop", Manifest: sites.Settings{Front: sites.Front{Hosts: []string{"shop.example.com"}}}},
		"any":  {Name: "any", Manifest: sites.Settings{Front: sites.Front{Path: "/any"}}},
	}}
	for _, tt := range []struct {
		site     string
		settings sites.Settings
		want     string // the other site's name
	}{
		{"new", sites.Settings{Front: sites.Front{Hosts: []string{"SHOP.example.com."}}}, "shop"},
		{"new", sites.Settings{Front: sites.Front{Hosts: []string{"shop.example.com"}, Path: "/new"}}, ""},
		{"new", sites.Settings{Front: sites.Front{Hosts: []string{"new.example.com"}}}, ""},
		{"new", sites.Settings{Front: sites.Front{Path: "/any/"}}, "any"},
		{"new", sites.Settings{}, ""},
		{"shop", sites.Settings{Front: sites.Front{Hosts: []string{"shop.example.com"}}}, ""},
	} {
		err := command.CheckHosts(view, command.Claim{Site: tt.site, Settings: tt.settings.WithDefaults(tt.site)})
		if (err == nil) != (tt.want == "") || (err != nil && (!errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), `"`+tt.want+`"`))) {
			t.Errorf("%s %+v: %v", tt.site, tt.settings.Hosts, err)
		}
	}
}

// Two sites on one host whose cookies a browser cannot tell apart are refused, with the
// cookie and the remedy, unless they are that way already.
func TestCheckCookies(t *testing.T) {
	view := &catalog.View{Sites: map[string]*catalog.Site{
		"x":       {Name: "x", Release: "r", Manifest: sites.Settings{Front: sites.Front{Hosts: []string{"one.test"}}}},
		"y":       {Name: "y", Release: "r", Manifest: sites.Settings{Front: sites.Front{Hosts: []string{"two.test"}, Path: "/y"}}},
		"y-place": {Name: "y-place", Release: "r", Manifest: sites.Settings{Front: sites.Front{Hosts: []string{"two.test"}, Path: "/y/place"}}},
		"z-place": {Name: "z-place", Release: "r", Manifest: sites.Settings{Front: sites.Front{Path: "/z"}}},
	}}
	for _, tt := range []struct {
		site     string
		settings sites.Settings
		want     string // the cookie
	}{
		{"x-place", sites.Settings{Front: sites.Front{Hosts: []string{"one.test"}, Path: "/b"}}, "portico-x-place"},
		{"x-notice", sites.Settings{Front: sites.Front{Hosts: []string{"ONE.test."}, Path: "/b"}}, "portico-x-notice"},
		{"x-notice", sites.Settings{Front: sites.Front{Hosts: []string{"three.test", "one.test"}, Path: "/b"}}, "portico-x-notice"},
		{"x-place", sites.Settings{Front: sites.Front{Hosts: []string{"one.test"}, Path: "/b", Session: sites.Session{Cookie: "b"}}}, ""},
		{"x-place", sites.Settings{Front: sites.Front{Hosts: []string{"one.test"}, Path: "/b", Session: sites.Session{Sticky: "none"}}}, ""},
		{"x-place", sites.Settings{Front: sites.Front{Hosts: []string{"other.test"}}}, ""},
		{"x-places", sites.Settings{Front: sites.Front{Hosts: []string{"one.test"}, Path: "/b"}}, ""},
		{"other", sites.Settings{Front: sites.Front{Hosts: []string{"one.test"}, Path: "/b", Session: sites.Session{Cookie: "portico-x-place"}}}, "portico-x-place"},
		{"y-notice", sites.Settings{Front: sites.Front{Hosts: []string{"two.test"}, Path: "/yes"}}, ""},
		{"y-notice", sites.Settings{Front: sites.Front{Hosts: []string{"two.test"}, Path: "/"}}, "portico-y-notice"},
		{"y", sites.Settings{Front: sites.Front{Hosts: []string{"two.test"}, Path: "/y"}}, ""}, // as it is now
		{"y-place", sites.Settings{Front: sites.Front{Hosts: []string{"two.test"}, Path: "/y/place"}}, ""},
		{"z", sites.Settings{Front: sites.Front{Path: "/"}}, "portico-z-place"},
		{"z", sites.Settings{Front: sites.Front{Hosts: []string{"one.test"}, Path: "/z"}}, ""},
	} {
		err := command.CheckHosts(view, command.Claim{Site: tt.site, Settings: tt.settings.WithDefaults(tt.site)})
		if (err == nil) != (tt.want == "") || err != nil && (!errors.Is(err, catalog.ErrConflict) || !strings.Contains(err.Error(), "\""+tt.want+"\"") || !strings.Contains(err.Error(), "session.cookie")) {
			t.Errorf("%s %+v: %v", tt.site, tt.settings, err)
		}
	}
}
