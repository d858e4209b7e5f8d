package page

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"
	"time"

	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/proxy/admin/access"
)

//go:embed *.html page.css page.js
var files embed.FS

// Page shows. Everything that is shown goes through html/template, so that no name can
// become markup.
type Page struct {
	templates *template.Template
	assets    map[string][]byte
}

// New parses the templates, and reads the files that they load.
func New() (*Page, error) {
	t, err := template.New("").Funcs(formats).ParseFS(files, "*.html")
	if err != nil {
		return nil, err
	}
	p := &Page{templates: t, assets: map[string][]byte{}}
	for _, name := range []string{"page.css", "page.js"} {
		if p.assets[name], err = files.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// show answers with a template.
func (p *Page) show(w http.ResponseWriter, status int, name string, data any) error {
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client is gone: nobody to tell
	return nil
}

// Asset answers with a file that the templates load.
func (p *Page) Asset(w http.ResponseWriter, name string) error {
	b, ok := p.assets[name]
	if !ok {
		return refusal.NotFound("", "there is no file %q", name)
	}
	kind := "text/css; charset=utf-8"
	if strings.HasSuffix(name, ".js") {
		kind = "text/javascript; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(b) // likewise
	return nil
}

// Frame is what stands around tables: who looks, where and when.
type Frame struct {
	Proxy       string // this one's name
	Who         *access.Identity
	CSRF, Flash string // what was just done
	Silent      string // which proxies are not in the sums
	Old         string // since when what is shown may be old
	Refresh     bool
	Now         time.Time
}

// Account is who looks.
func (f Frame) Account() string { return f.Who.Account }

// Role is theirs.
func (f Frame) Role() catalog.AccountRole { return f.Who.Role }
