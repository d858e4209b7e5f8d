package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
	"portico/proxy/haproxy"
	"portico/tests/support/written"
)

// certifier is the part of a proxy that an export asks. Its certificates end two seconds after they were made.
type certifier struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	signed atomic.Int64
}

func (c *certifier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	files := map[string]string{haproxy.ConfigFile: "global\n"}
	if r.Method == http.MethodPost {
		leaf := &x509.Certificate{SerialNumber: big.NewInt(c.signed.Add(1)), NotBefore: time.Now(), NotAfter: time.Now().Add(2 * time.Second)}
		der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, c.key.Public(), c.key)
		if err != nil {
			c.t.Error(err)
		}
		files[haproxy.ClientFile] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(api.Export{Revision: 1, Files: files})
}

// An export that is watched for months has a certificate all the time, and HAProxy reads the new one. A reload that
// fails is tried again: HAProxy may be the one that starts later.
func TestWatchedExportStaysGood(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &certifier{t: t, key: key}
	proxy := httptest.NewTLSServer(c)
	t.Cleanup(proxy.Close)
	roots := x509.NewCertPool()
	roots.AddCert(proxy.Certificate())
	client, err := apiclient.New(apiclient.Options{Addr: proxy.Listener.Addr().String(), TLS: &tls.Config{RootCAs: roots}, Token: "a.b"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	dir := t.TempDir()
	reloads := filepath.Join(dir, "reloads")
	ctx, cancel := context.WithCancel(t.Context())
	said, ended := &written.Buffer{}, make(chan error, 1)
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	cmd.SetOut(said)
	cmd.SetErr(said)
	x, err := newExporter(cmd, client, api.ExportRequest{Dir: dir}, "haproxy")
	if err != nil {
		t.Fatal(err)
	}
	go func() { ended <- x.watch(fmt.Sprintf("echo reload >>%s; test $(wc -l <%[1]s) -gt 1", reloads)) }()
	for deadline := time.Now().Add(time.Minute); ; {
		told, _ := os.ReadFile(reloads)
		if c.signed.Load() >= 2 && bytes.Count(told, []byte("\n")) >= 3 { // one that failed, one more, one for the second certificate
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d certificates and these reloads after a minute:\n%s%s", c.signed.Load(), told, said)
		}
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v:\n%s", err, said)
	}
	if !strings.Contains(said.String(), "reload command") {
		t.Errorf("the reload that failed is not told:\n%s", said)
	}
}
