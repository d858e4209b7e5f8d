package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portico/internal/exitcode"
	"portico/tests/support/selfsigned"
)

// A slip in a flag's name is told with the flag that was meant, as for settings.
func TestDidYouMeanFlag(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"deploy", "shop", ".", "--hots", "x"}, "did you mean --host?"},
		{[]string{"logs", "shop", "--tial=5"}, "did you mean --tail?"},
		{[]string{"proxy", "--addmin", ":1"}, "did you mean --admin?"},
		{[]string{"members", "--dri", "x"}, "did you mean --dir?"},
	} {
		var out, errs bytes.Buffer
		if code := run(context.Background(), tt.args, nil, strings.NewReader(""), &out, &errs); code != exitcode.Usage || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%v: exit %d: %s", tt.args, code, errs.String())
		}
	}
	var errs bytes.Buffer
	if run(context.Background(), []string{"members", "--zzzzzz"}, nil, strings.NewReader(""), &errs, &errs); strings.Contains(errs.String(), "did you mean") {
		t.Errorf("nothing is near: %s", errs.String())
	}
}

// TestAddressFlagsTakeBrackets: an IPv6 address arrives as it was given.
func TestAddressFlagsTakeBrackets(t *testing.T) {
	for _, args := range [][]string{
		{"proxy", "--http", "[::1]:99999"}, {"proxy", "--admin", "[::1]:99999"}, {"proxy", "--https", "[::1]:99999"}, {"proxy", "--gossip", "[::1]:99999"},
		{"proxy", "--catalog", "[::1]:99999"}, {"agent", "--listen", "[::1]:99999"}, {"agent", "--join", "[::1]:99999"},
	} {
		var errs bytes.Buffer
		code := run(context.Background(), append(args, "--config", os.DevNull, "--dir", t.TempDir()), nil, strings.NewReader(""), &errs, &errs)
		if code != exitcode.Usage || !strings.Contains(errs.String(), `[::1]:99999`) {
			t.Errorf("%v: exit %d: %s", args, code, errs.String())
		}
	}
}

// TestCheckRefusesWhatTheStartRefuses: a pair of certificate and key that does not fit, files that hold something else.
func TestCheckRefusesWhatTheStartRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, kind string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, keys := filepath.Join(dir, "cert.pem"), [2]string{filepath.Join(dir, "key.pem"), filepath.Join(dir, "other.pem")}
	selfsigned.Write(t, selfsigned.New(t, "a.test"), cert, keys[1])
	selfsigned.Write(t, selfsigned.New(t, "a.test"), cert, keys[0])
	pair := func(cert, key string) string {
		return "[[tls.certificate]]\ncert = '" + cert + "'\nkey = '" + key + "'\n"
	}
	for text, want := range map[string]int{
		pair(cert, keys[0]):                      0,
		pair(cert, keys[1]):                      exitcode.Usage,
		pair(keys[0], cert):                      exitcode.Usage,
		pair(cert, file("x.pem", "JUNK", nil)):   exitcode.Usage,
		"[tls]\nacme_root = '" + keys[0] + "'\n": exitcode.Usage,
		"[catalog]\nendpoints = ['https://127.0.0.1:2379']\nca = '" + keys[0] + "'\n":                                      exitcode.Usage,
		"[catalog]\nendpoints = ['https://127.0.0.1:2379']\ncert = '" + cert + "'\nkey = '" + keys[1] + "'\n":              exitcode.Usage,
		"[catalog]\nendpoints = ['https://127.0.0.1:2379']\ncert = '" + cert + "'\nkey = '" + keys[0] + "'\n# all right\n": 0,
	} {
		path := filepath.Join(dir, "portico.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if code := run(context.Background(), []string{"check", path}, nil, strings.NewReader(""), &out, &out); code != want {
			t.Errorf("%s: exit %d, want %d: %s", text, code, want, out.String())
		}
	}
}
