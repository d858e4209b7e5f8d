package certs_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/certs"
	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/tests/support/selfsigned"
	"portico/tests/support/written"
)

// TestInternalCertificatesAreReplacedInTime: those of the cluster's authority live for 90 days, and a third of that is
// left when a proxy issues the next one.
func TestInternalCertificatesAreReplacedInTime(t *testing.T) {
	for left, fresh := range map[time.Duration]bool{90 * 24 * time.Hour: true, 31 * 24 * time.Hour: true, 29 * 24 * time.Hour: false, -time.Hour: false} {
		if got := certs.Fresh(&x509.Certificate{NotAfter: time.Now().Add(left)}); got != fresh {
			t.Errorf("with %v left: fresh is %v", left, got)
		}
	}
}

func TestEndsSoon(t *testing.T) {
	now := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	for _, tt := range []struct {
		source     string
		life, left time.Duration
		soon       bool
	}{
		{"acme", 90 * day, 30 * day, false}, {"acme", 90 * day, 22 * day, false}, {"acme", 90 * day, 20 * day, true}, {"acme", 90 * day, -day, true},
		{"acme", 6 * day, 2 * day, false}, {"acme", 6 * day, day, true},
		{"file", 365 * day, 20 * day, true}, {"internal", 90 * day, day, false},
	} {
		s := certs.Status{Source: tt.source, NotAfter: now.Add(tt.left), NotBefore: now.Add(tt.left - tt.life)}
		if s.EndsSoon(now) != tt.soon {
			t.Errorf("%s of %v with %v left: ends soon is %v", tt.source, tt.life, tt.left, !tt.soon)
		}
	}
	if (&certs.Status{Source: "acme"}).EndsSoon(now) {
		t.Error("what is not there ends")
	}
}

// A certificate that ends soon is told to operators, with its host and the way out.
func TestEndIsWarnedOf(t *testing.T) {
	file := certs.File{Cert: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	selfsigned.Write(t, selfsigned.Sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, DNSNames: []string{testHost},
		NotBefore: time.Now().Add(-87 * 24 * time.Hour), NotAfter: time.Now().Add(3 * 24 * time.Hour),
	}), file.Cert, file.Key)
	var log written.Buffer
	m, err := certs.New(certs.Options{Catalog: openCatalog(t, t.TempDir()), Files: []certs.File{file}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	m.Refresh(&catalog.View{}) // nothing before the first Sync
	if len(m.Status()) != 0 {
		t.Error("hosts were taken in before the listeners are open")
	}
	m.Sync(site("shop", sites.TLS{}, testHost))
	eventually(t, "the end is warned of", func() bool { return strings.Contains(log.String(), "certificate ends soon") })
	if text := log.String(); !strings.Contains(text, "host="+testHost) || !strings.Contains(text, "tls.certificates") {
		t.Errorf("the warning is %s", text)
	}
}
