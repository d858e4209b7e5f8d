package api

// ExportRequest says what an export is for. Empty fields mean the defaults of
// haproxy.Options.
type ExportRequest struct {
	HTTP, HTTPS string // addresses to listen on
	Certs       string // folder of certificates for HTTPS, as HAProxy will find it; empty: no HTTPS
	Stats       string // address of HAProxy's own page, "off": none
	Dir         string // where the companion files will lie
	Bare        bool   // without account, chroot and runtime socket
}

// ExportBundleRequest is the body of POST /v1/export/haproxy.
type ExportBundleRequest struct {
	Name string `json:"name"` // member name of the HAProxy
	CSR  []byte `json:"csr"`  // certificate request, DER
}

// Export is the answer of /v1/export/haproxy in JSON: file names and their
// content. Without the bundle it is haproxy.cfg alone.
type Export struct {
	Revision int64             `json:"revision"`
	Files    map[string]string `json:"files"`
}
