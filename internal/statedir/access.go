package statedir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"portico/internal/exitcode"
)

// ClientFile is where a proxy leaves what local commands need, and where login
// saves what it learned. Mode 0600: the token in it is an administrator's.
const ClientFile = "client.json"

// Access is how a client command reaches a cluster.
type Access struct {
	Addr        string `json:"addr"`
	Fingerprint string `json:"fingerprint,omitempty"` // of the cluster's authority; empty: the system's roots are trusted
	Token       string `json:"token"`
}

// ReadAccess reads a file that a proxy or a login has left.
func ReadAccess(path string) (Access, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Access{}, exitcode.Misuse(fmt.Errorf("%s is not the folder of a proxy that has run: %w", filepath.Dir(path), err))
	}
	if err != nil {
		return Access{}, fmt.Errorf("find the cluster: %w", err)
	}
	var a Access
	if err := json.Unmarshal(data, &a); err != nil || a.Addr == "" {
		return Access{}, fmt.Errorf("find the cluster: %s is damaged: restart the proxy, which writes it anew, or run portico login again", path)
	}
	return a, nil
}

// WriteAccess replaces the file as a whole, readable by its owner alone.
func WriteAccess(path string, a Access) error {
	data, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return WriteSecret(path, string(data)+"\n")
}
