package objects_test

import (
	"strings"
	"testing"

	"portico/deployhook/objects"
)

// TestWebApplication: what Tomcat can be given, and why the rest is refused.
func TestWebApplication(t *testing.T) {
	for _, tt := range []struct{ files, war, err string }{
		{"shop.war portico.toml", "shop.war", ""},
		{"Shop.WAR index.jsp", "Shop.WAR", ""},
		{"WEB-INF/web.xml index.html", "", ""},
		{"portico.toml pages/index.JSP", "", ""},
		{"a.war b.war", "", "2 .war files"},
		{"old/shop.war", "", "no web application"},
		{"index.html", "", "no web application"},
		{"web-inf/web.xml", "", "no web application"}, // Tomcat tells cases apart
	} {
		var files []objects.File
		for p := range strings.FieldsSeq(tt.files) {
			files = append(files, objects.File{Path: p})
		}
		war, err := objects.WebApplication(files)
		if war != tt.war || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v; want %q, %q", tt.files, war, err, tt.war, tt.err)
		}
	}
}
