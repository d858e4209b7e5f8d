package admin

import (
	"bytes"
	"embed"
	"html/template"
)

//go:embed page
var pageFiles embed.FS

// pages are the parsed templates and the files that they load. Everything that
// is shown goes through html/template, so that no name can become markup.
type pages struct {
	templates *template.Template
	assets    map[string][]byte
}

func newPages() (*pages, error) {
	t, err := template.New("").Funcs(formats).ParseFS(pageFiles, "page/*.html")
	if err != nil {
		return nil, err
	}
	p := &pages{templates: t, assets: map[string][]byte{}}
	for _, name := range []string{"page.css", "page.js"} {
		if p.assets[name], err = pageFiles.ReadFile("page/" + name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// show answers with a template.
func (s *Server) show(c *call, status int, name string, data any) error {
	var b bytes.Buffer
	if err := s.pages.templates.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b.Bytes()) // the client is gone: nobody to tell
	return nil
}
