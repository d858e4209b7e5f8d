package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
)

// File names one certificate of the operator's own.
type File struct {
	Cert string // path of the certificate, then its intermediates, PEM
	Key  string // path of the private key, PEM
}

// SetFiles reads own certificates anew, for instance after they were replaced on
// disk. On any error it changes nothing, and names every file that is wrong.
func (m *Manager) SetFiles(files []File) error {
	byName, first, err := readFiles(files)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.files, m.first = byName, first
	m.mu.Unlock()
	return nil
}

// CheckFiles reports what SetFiles would.
func CheckFiles(files []File) error {
	_, _, err := readFiles(files)
	return err
}

// readFiles returns the certificates by the names in them, and the first of them.
func readFiles(files []File) (map[string]*tls.Certificate, *tls.Certificate, error) {
	byName := map[string]*tls.Certificate{}
	var first *tls.Certificate
	var errs []error
	for _, f := range files {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			errs = append(errs, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err))
			continue
		}
		if first == nil {
			first = &pair
		}
		names := pair.Leaf.DNSNames
		for _, ip := range pair.Leaf.IPAddresses {
			names = append(names, ip.String())
		}
		if len(names) == 0 {
			errs = append(errs, fmt.Errorf("certificate %s names no host: its subject alternative names are empty", f.Cert))
		}
		for _, n := range names {
			n = strings.ToLower(n)
			if old := byName[n]; old == nil || old.Leaf.NotAfter.Before(pair.Leaf.NotAfter) {
				byName[n] = &pair
			}
		}
	}
	return byName, first, errors.Join(errs...)
}

// fileForLocked returns the own certificate for a host, nil if there is none. m.mu is
// held.
func (m *Manager) fileForLocked(host string) *tls.Certificate {
	if c := m.files[host]; c != nil {
		return c
	}
	if _, parent, ok := strings.Cut(host, "."); ok {
		return m.files["*."+parent]
	}
	return nil
}
