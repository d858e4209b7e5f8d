package certs_test

import (
	"crypto/x509"
	"log/slog"
	"math/big"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/certs"
	"portico/conf/sites"
	"portico/tests/support/selfsigned"
	"portico/tests/support/written"
)

// ended returns a certificate that ended some days ago.
func ended(t *testing.T, days int) []byte {
	t.Helper()
	end := time.Now().AddDate(0, 0, -days)
	cert, _ := selfsigned.Encode(t, selfsigned.Sign(t, &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.AddDate(0, 0, -90), NotAfter: end}))
	return cert
}

// TestOldCertificatesGo: what a host had that no site has any more is deleted with
// its key, thirty days after the certificate's end; what a site has stays, and one
// that nobody can read holds up none of the others.
func TestOldCertificatesGo(t *testing.T) {
	c := openCatalog(t, t.TempDir())
	store := c.Storage()
	put := func(host string, crt []byte) {
		for _, ext := range []string{".crt", ".key", ".json"} {
			if err := store.Put(t.Context(), "certificates/acme.test-directory/"+host+"/"+host+ext, crt); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("broken.test", []byte("not a certificate"))
	put("gone.test", ended(t, 31))
	put("gone-lately.test", ended(t, 29))
	put("valid.test", ended(t, -30))
	put("kept.test", ended(t, 400))
	log := &written.Buffer{}
	o := certs.Options{Catalog: c, Logger: slog.New(slog.NewTextHandler(log, nil))}
	m, err := certs.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.Sync(site("shop", sites.TLS{}, "kept.test"))
	eventually(t, "the old certificate is deleted", func() bool {
		return strings.Contains(log.String(), "gone.test") && strings.Contains(log.String(), "broken.test")
	})
	m.Close()
	keys, err := store.List(t.Context(), "certificates", true)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, k := range keys {
		left = append(left, path.Base(k))
	}
	var want []string
	for _, host := range []string{"broken.test", "gone-lately.test", "kept.test", "valid.test"} {
		want = append(want, host+".crt", host+".json", host+".key")
	}
	if !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
	if strings.Contains(log.String(), "host=kept.test") || strings.Contains(log.String(), "host=valid.test") || strings.Contains(log.String(), "host=gone-lately.test") {
		t.Error("the log tells of another one")
	}
	m.Sync(site("shop", sites.TLS{}, "kept.test")) // after Close it does no harm
}
