package admin

import (
	"bytes"
	"net/http"
	"strings"

	"portico/internal/refusal"
	"portico/proxy/admin/api"
	"portico/proxy/admin/streams"
	"portico/proxy/haproxy"
)

// exportHAProxy answers with haproxy.cfg, which holds nothing secret: the
// cookie tokens in it are what every visitor's browser is shown.
func (s *Server) exportHAProxy(c *call) error {
	cfg, revision, err := s.haproxyConfig(c)
	if err != nil {
		return err
	}
	if c.r.URL.Query().Get("format") == "json" {
		return c.json(http.StatusOK, api.Export{Revision: revision, Files: map[string]string{haproxy.ConfigFile: string(cfg)}})
	}
	return c.text(http.StatusOK, cfg)
}

// exportBundle adds the authority and a certificate for the caller's key, with
// which HAProxy may reach every agent: for administrators, by POST, and in the
// audit log. The private key is the caller's and never comes here.
func (s *Server) exportBundle(c *call) error {
	var in api.ExportBundleRequest
	if err := c.input(&in); err != nil {
		return err
	}
	if len(in.CSR) == 0 {
		return refusal.BadRequest("csr", "the certificate request is missing")
	}
	cfg, revision, err := s.haproxyConfig(c)
	if err != nil {
		return err
	}
	if s.o.ClientCertificate == nil {
		return refusal.NotOffered("client certificate")
	}
	client, ca, err := s.o.ClientCertificate(c.r.Context(), in.Name, in.CSR, c.who.Account)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, api.Export{Revision: revision, Files: map[string]string{
		haproxy.ConfigFile: string(cfg), haproxy.ClientFile: string(client), haproxy.CAFile: string(ca),
	}})
}

func (s *Server) haproxyConfig(c *call) ([]byte, int64, error) {
	if s.o.HAProxy == nil {
		return nil, 0, refusal.NotOffered("export")
	}
	o := s.o.HAProxy()
	o.View = s.o.Catalog.View()
	o.Version = s.o.Version
	q := c.r.URL.Query()
	o.Bare = q.Get("bare") == "1"
	for name, field := range map[string]*string{"dir": &o.Dir, "certs": &o.CertDir, "http": &o.HTTP, "https": &o.HTTPS, "stats": &o.Stats} {
		v := q.Get(name)
		if len(v) > 255 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, 0, refusal.BadRequest("", "%s is not usable in a configuration file", name)
		}
		if v != "" {
			*field = v
		}
	}
	var b bytes.Buffer
	if err := haproxy.Export(&b, o); err != nil {
		return nil, 0, err
	}
	return b.Bytes(), o.View.Revision, nil
}

// backup streams the catalog, secrets included in their sealed form.
func (s *Server) backup(c *call) error {
	if s.o.Backup == nil {
		return refusal.NotOffered("backup")
	}
	c.w.Header().Set("Content-Disposition", `attachment; filename="portico-backup"`)
	w := streams.NewText(c.w, "application/octet-stream")
	err := s.o.Backup(c.r.Context(), w)
	if err != nil && w.Begun {
		// Half a backup must not look like one: break the connection.
		s.log.Error("backup broke off", "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}
