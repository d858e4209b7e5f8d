package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"portico/conf/sites"
	"portico/proxy/admin/api"
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
	t := pageTarget{Site: site}
	v, _ := verbOf(verbDeploy, onSite)
	if e := s.mayAct(c.who, &v, site); e != nil {
		return e
	}
	if archive.FileName() == "" {
		return api.BadRequest("choose a zip, war, tar, tar.gz or tar.zst file", "no archive was chosen")
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
	w := &bufferedAnswer{ResponseWriter: c.w, header: http.Header{}}
	if err := s.take(c, w, r); err != nil {
		return err
	}
	if w.status >= 400 {
		return w.err()
	}
	s.done(c, &v, t, form.Get("back"))
	return nil
}

// archiveForm reads the fields of the form up to the archive, and checks the form's token.
func (s *Server) archiveForm(c *call) (url.Values, *multipart.Part, error) {
	if !c.who.LoggedIn() {
		return nil, nil, api.Forbidden("use /v1 with a token", "forms are for the page's login")
	}
	// The deadlines of uploads hold for the form as well.
	c.r.Body = s.paced(c, c.r.Body)
	mr, err := c.r.MultipartReader()
	if err != nil {
		return nil, nil, api.Failf(http.StatusUnsupportedMediaType, "media_type", "", "this takes a form with an archive")
	}
	form := url.Values{}
	for range maxFormFields {
		part, err := mr.NextPart()
		if err != nil {
			return nil, nil, api.BadRequest("", "the form broke off, or has no archive")
		}
		if part.FormName() == "archive" {
			if !s.gate.CSRFGood(c.who, form.Get("csrf")) {
				return nil, nil, api.Failf(http.StatusForbidden, "csrf", "load the page again", "the form's token is missing or old")
			}
			return form, part, nil
		}
		value, err := io.ReadAll(io.LimitReader(part, maxFormField+1))
		if err != nil || len(value) > maxFormField {
			return nil, nil, api.BadRequest("", "the field %q of the form cannot be read", api.Bounded(part.FormName(), 40))
		}
		form.Add(part.FormName(), string(value))
	}
	return nil, nil, api.BadRequest("", "the form has too many fields")
}

// bufferedAnswer keeps the receiver's answer, which is for programs. Deadlines go through to
// the connection.
type bufferedAnswer struct {
	http.ResponseWriter
	header http.Header
	body   bytes.Buffer
	status int
}

func (w *bufferedAnswer) Header() http.Header { return w.header }

func (w *bufferedAnswer) WriteHeader(status int) { w.status = status }

func (w *bufferedAnswer) Write(p []byte) (int, error) { return w.body.Write(p) }

// Unwrap lets http.ResponseController reach the connection.
func (w *bufferedAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// err is the refusal that the answer tells.
func (w *bufferedAnswer) err() error {
	var told struct {
		Error *api.Error `json:"error"`
	}
	if err := json.Unmarshal(w.body.Bytes(), &told); err != nil || told.Error == nil {
		return errors.New("the receiver refused the archive and did not say why")
	}
	told.Error.Status = w.status
	return told.Error
}
