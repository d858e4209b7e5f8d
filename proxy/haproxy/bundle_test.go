package haproxy_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"portico/proxy/haproxy"
	"portico/tests/support/selfsigned"
)

// writeBundle puts the companion files into dir: a self-signed certificate that
// is its own authority.
func writeBundle(t testing.TB, dir string, names ...string) {
	t.Helper()
	cert, key := selfsigned.Encode(t, selfsigned.New(t, names...))
	for name, b := range map[string][]byte{haproxy.CAFile: cert, haproxy.ClientFile: slices.Concat(cert, key)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
