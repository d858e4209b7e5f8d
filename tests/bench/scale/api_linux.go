package main

import (
	"crypto/tls"
	"encoding/json"
	"os"
	"path/filepath"

	"portico/proxy/admin/apiclient"
)

// clientFile is what a proxy keeps for local commands.
type clientFile struct {
	Addr        string `json:"addr"`
	Fingerprint string `json:"fingerprint"`
	Token       string `json:"token"`
}

func readClientFile(dir string) (f clientFile, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "client.json"))
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(b, &f)
}

// api speaks to the proxy as its local administrator.
func (d *door) api() (*apiclient.Client, error) {
	f, err := readClientFile(filepath.Join(d.c.Dir, "proxy-1"))
	if err != nil {
		return nil, err
	}
	return apiclient.New(apiclient.Options{Addr: f.Addr, Token: f.Token, TLS: &tls.Config{InsecureSkipVerify: true}}) // a benchmark's own proxy
}
