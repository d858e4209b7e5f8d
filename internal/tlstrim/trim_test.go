package tlstrim

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
)

// TestGoHasTheFields: this version of Go keeps its buffers where they are looked for.
func TestGoHasTheFields(t *testing.T) {
	if !fields.known {
		t.Fatal("crypto/tls has other fields: idle connections over TLS hold more memory. See docs/decisions/tls-buffers.md")
	}
}

// TestOtherFields: of a type that has other fields nothing is touched.
func TestOtherFields(t *testing.T) {
	field := func(name string, typ reflect.Type) reflect.StructField {
		return reflect.StructField{Name: name, PkgPath: "crypto/tls", Type: typ}
	}
	buffer, text := reflect.TypeFor[bytes.Buffer](), reflect.TypeFor[[]byte]()
	none := reflect.StructOf([]reflect.StructField{field("rawInput", buffer), field("hand", buffer)})
	other := reflect.StructOf([]reflect.StructField{field("rawInput", text), field("hand", text), field("input", reflect.TypeFor[bytes.Reader]())})
	for _, conn := range []reflect.Type{none, other} {
		f := find(conn)
		f.trim(nil) // it would fail here
		if f.known || f.held(nil) != 0 {
			t.Errorf("%v: taken for a tls.Conn", conn)
		}
	}
}

// TestTrim: at any moment at which nobody uses a connection its empty buffers can go, and not a byte is lost.
func TestTrim(t *testing.T) {
	for _, curve := range []tls.CurveID{tls.X25519, tls.X25519MLKEM768} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			client, server := pair(t, version, curve)
			if Held(server) == 0 {
				t.Fatal("nothing was read into a buffer")
			}
			Trim(server)
			if n := Held(server); n != 0 {
				t.Errorf("%d bytes held", n)
			}
			hand := at[bytes.Buffer](server, fields.hand)
			if n := hand.Cap(); n != 0 {
				t.Errorf("%d bytes held for the handshake", n)
			}
			sent := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)
			go func() {
				_, _ = client.Write(sent)
				_ = client.Close()
			}()
			var got []byte
			for b := make([]byte, 1000); ; {
				n, err := server.Read(b)
				got = append(got, b[:n]...)
				if err != nil {
					if !errors.Is(err, io.EOF) {
						t.Error(err)
					}
					break
				}
				Trim(server)
			}
			if !bytes.Equal(got, sent) {
				t.Errorf("%d bytes came of %d, or others", len(got), len(sent))
			}
		}
	}
}

// pair makes the two ends of a connection that have shaken hands.
func pair(t *testing.T, version uint16, curve tls.CurveID) (client, server *tls.Conn) {
	t.Helper()
	known := httptest.NewTLSServer(nil) // for its certificate
	defer known.Close()
	cfg := known.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	cfg.ServerName, cfg.MaxVersion, cfg.CurvePreferences = "example.com", version, []tls.CurveID{curve, tls.X25519}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	done := make(chan error, 1)
	go func() {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			client = tls.Client(c, cfg)
			err = client.Handshake()
		}
		done <- err
	}()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server = tls.Server(c, &tls.Config{Certificates: known.TLS.Certificates})
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}
