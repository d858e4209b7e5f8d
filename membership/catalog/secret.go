package catalog

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"portico/internal/durable"
)

// KeySize is the length of the key that seals secrets.
const KeySize = 32

// sealer encrypts secrets with AES-256-GCM. The name of a secret is additional
// data, so that one secret cannot be put in the place of another. A sealed value is
// a version, the id of the key, the nonce and the ciphertext.
type sealer struct {
	aead cipher.AEAD
	id   [4]byte
}

const sealVersion = 1

func newSealer(key []byte) (*sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("%w: the catalog's key has %d bytes, it needs %d", ErrInvalid, len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	s := &sealer{aead: aead}
	id := sha256.Sum256(append([]byte("portico catalog key id\n"), key...))
	copy(s.id[:], id[:])
	return s, nil
}

func (s *sealer) seal(name string, plain []byte) []byte {
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails, see crypto/rand
	out := append([]byte{sealVersion}, s.id[:]...)
	out = append(out, nonce...)
	return s.aead.Seal(out, nonce, plain, []byte(name))
}

func (s *sealer) open(name string, value []byte) ([]byte, error) {
	head := 1 + len(s.id)
	n := s.aead.NonceSize()
	if len(value) < head+n || value[0] != sealVersion {
		return nil, fmt.Errorf("%w: secret %q is not a sealed value", ErrCorrupt, name)
	}
	if [4]byte(value[1:head]) != s.id {
		return nil, fmt.Errorf("secret %q: %w; put back the key file that was in use when it was written", name, ErrWrongKey)
	}
	plain, err := s.aead.Open(nil, value[head:head+n], value[head+n:], []byte(name))
	if err != nil {
		return nil, fmt.Errorf("%w: secret %q does not open", ErrCorrupt, name)
	}
	return plain, nil
}

// LoadKey reads the key that seals secrets from the file at path, and makes a new
// one there (mode 0600) if there is no file. Without this file the secrets of a
// backup cannot be read, so it belongs beside the backup, not into it.
func LoadKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil {
		if len(key) != KeySize {
			return nil, fmt.Errorf("key file %s has %d bytes, it needs %d: put back the original", path, len(key), KeySize)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key = make([]byte, KeySize)
	_, _ = rand.Read(key)
	err = os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = durable.WriteFile(path, key)
	}
	if err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	return key, nil
}
