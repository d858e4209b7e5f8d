package admin

import (
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"portico/conf/sites"
	"portico/internal/refusal"
	"portico/proxy/admin/api"
	"portico/proxy/admin/page"
	"portico/proxy/admin/streams"
)

// Bounds of the fields before the archive in the page's form.
const (
	maxFormFields = 10
	maxFormField  = 4 << 10
)

// deployPage takes the page's form with an archive, and hands the archive to the
// receiver as it comes, in the same way as PUT /v1/sites/{site}/archive. The fields
// stand before the file in the form, so that nothing is read for who may not.
func (s *Server) deployPage(c *call) error {
	form, archive, err := s.archiveForm(c)
	if err != nil {
		c.quiet = true
		return err
	}
	site := strings.TrimSpace(form.Get("site"))
	c.object = api.Bounded(site, 60)
	if err := sites.ValidName("site", site); err != nil {
		return err
	}
	t := page.Target{Site: site}
	v, _ := page.VerbOf(page.VerbDeploy, page.OnSite)
	if e := v.May(c.who, site); e != nil {
		return e
	}
	if archive.FileName() == "" {
		return refusal.BadRequest("choose a zip, war, tar, tar.gz or tar.zst file", "no archive was chosen")
	}
	q := url.Values{"name": {archive.FileName()}}
	if host := strings.TrimSpace(form.Get("host")); host != "" {
		q.Set("host", host)
	}
	if form.Get("no_pin") != "" {
		q.Set("no_pin", "1")
	}
	r := c.r.Clone(c.r.Context())
	r.Method, r.URL = http.MethodPut, &url.URL{Path: "/v1/sites/" + site + "/archive", RawQuery: q.Encode()}
	r.SetPathValue("site", site)
	r.Header = http.Header{"Content-Type": {"application/octet-stream"}}
	r.ContentLength = -1
	r.Body = io.NopCloser(archive)
	w := streams.NewBuffered(c.w)
	if err := s.take(c, w, r); err != nil {
		return err
	}
	if w.Status >= 400 {
		return w.Err()
	}
	s.done(c, &v, t, form.Get("back"))
	return nil
}

// archiveForm reads the fields of the form up to the archive, and checks the form's token.
func (s *Server) archiveForm(c *call) (url.Values, *multipart.Part, error) {
	if !c.who.LoggedIn() {
		return nil, nil, refusal.Forbidden("use /v1 with a token", "forms are for the page's login")
	}
	// The deadlines of uploads hold for the form as well.
	c.r.Body = streams.NewUpload(c.r.Context(), c.w, c.r.Body, c.now)
	mr, err := c.r.MultipartReader()
	if err != nil {
		return nil, nil, refusal.New(http.StatusUnsupportedMediaType, "media_type", "", "this takes a form with an archive")
	}
	form := url.Values{}
	for range maxFormFields {
		part, err := mr.NextPart()
		if err != nil {
			return nil, nil, refusal.BadRequest("", "the form broke off, or has no archive")
		}
		if part.FormName() == "archive" {
			if !s.gate.CSRFGood(c.who, form.Get("csrf")) {
				return nil, nil, refusal.New(http.StatusForbidden, "csrf", "load the page again", "the form's token is missing or old")
			}
			return form, part, nil
		}
		value, err := io.ReadAll(io.LimitReader(part, maxFormField+1))
		if err != nil || len(value) > maxFormField {
			return nil, nil, refusal.BadRequest("", "the field %q of the form cannot be read", api.Bounded(part.FormName(), 40))
		}
		form.Add(part.FormName(), string(value))
	}
	return nil, nil, refusal.BadRequest("", "the form has too many fields")
}
