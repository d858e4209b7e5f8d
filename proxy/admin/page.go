package admin

import (
	"net/http"
)

type pages struct{}

func newPages() (*pages, error) { return &pages{}, nil }

func withSuffix(r *http.Request, suffix string) *http.Request {
	r = r.Clone(r.Context())
	r.URL.Path = "/stats"
	r.URL.RawPath = ""
	r.Header.Set("Portico-Suffix", suffix)
	return r
}

func (s *Server) statsPage(c *call) error                        { return s.statsCSV(c) }
func (s *Server) confirmPage(c *call) error                      { return nil }
func (s *Server) actPage(c *call) error                          { return nil }
func (s *Server) loginPage(c *call) error                        { return nil }
func (s *Server) showLogin(c *call, e *Error, next string) error { return e }
func (s *Server) asset(c *call) error                            { return nil }
func (s *Server) errorPage(c *call, e *Error)                    { writeError(c.w, e) }
func (s *Server) metricsText(c *call) error                      { return nil }
