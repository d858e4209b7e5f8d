package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"portico/internal/durable"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
)

// The files of an identity, all of mode 0600 in a directory of mode 0700.
const (
	fileKey         = "key.pem"         // made on this machine, never leaves it
	fileMember      = "member.json"     // the member's random id
	fileCertificate = "certificate.pem" // from the cluster's authority, absent until accepted
	fileAuthority   = "ca.pem"          // the authority's certificate, absent until accepted
	fileGossip      = "gossip.key"      // the gossip keys, absent until accepted
)

// ErrNotAccepted reports that this machine has no certificate of a cluster yet.
var ErrNotAccepted = errors.New("not accepted into a cluster yet")

// Identity is who this machine is: its key, the id it gave itself, and once it
// was accepted its certificate, the cluster's authority and the gossip keys.
// All methods may be used concurrently.
type Identity struct {
	dir         string
	id          string
	key         *ecdsa.PrivateKey
	fingerprint string

	mu   sync.RWMutex
	cert *membership // nil until accepted; replaced whole on renewal
}

// membership is what acceptance hands over.
type membership struct {
	peer Peer
	tls  *tls.Certificate // leaf, then the authority
	pool *x509.CertPool
}

// LoadIdentity reads the identity in dir. Where there is none it makes a key and
// an id, so the machine can knock.
func LoadIdentity(dir string) (*Identity, error) {
	i, err := loadIdentity(dir)
	if err != nil {
		return nil, fmt.Errorf("load identity from %s: %w", dir, err)
	}
	return i, nil
}

func loadIdentity(dir string) (*Identity, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	i := &Identity{dir: dir}
	var err error
	if i.key, err = loadKey(filepath.Join(dir, fileKey)); err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(i.key.Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(spki)
	i.fingerprint = hex.EncodeToString(sum[:])
	if i.id, err = loadID(filepath.Join(dir, fileMember)); err != nil {
		return nil, err
	}
	leaf, err1 := readPEM(filepath.Join(dir, fileCertificate), "CERTIFICATE")
	ca, err2 := readPEM(filepath.Join(dir, fileAuthority), "CERTIFICATE")
	if err := errors.Join(err1, err2); errors.Is(err, fs.ErrNotExist) {
		return i, nil // not accepted yet, or a crash between the two files: knock again
	} else if err != nil {
		return nil, err
	}
	if i.cert, err = i.membership(leaf, ca); err != nil {
		return nil, err
	}
	return i, nil
}

// loadKey reads a private key, or makes one.
func loadKey(path string) (*ecdsa.PrivateKey, error) {
	der, err := readPEM(path, "PRIVATE KEY")
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			return nil, err
		}
		return key, durable.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: a %T is no ECDSA key", path, k)
	}
	return key, nil
}

type memberFile struct {
	ID string `json:"id"`
}

// loadID reads the member's id, or makes one.
func loadID(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		m := memberFile{ids.NewInstance()}
		data, err := json.Marshal(m)
		if err != nil {
			return "", err
		}
		return m.ID, durable.WriteFile(path, append(data, '\n'))
	}
	if err != nil {
		return "", err
	}
	var m memberFile
	if err := json.Unmarshal(data, &m); err != nil || m.ID == "" {
		return "", fmt.Errorf("%s is damaged: put it back from a backup, or remove the directory and join anew", path)
	}
	return m.ID, nil
}

// ID returns the random id that this machine gave itself.
func (i *Identity) ID() string { return i.id }

// Fingerprint returns the SHA-256 of this machine's public key in hexadecimal, as
// Member.Fingerprint.
func (i *Identity) Fingerprint() string { return i.fingerprint }

// Peer returns whom the certificate names, and whether there is one yet.
func (i *Identity) Peer() (Peer, bool) {
	m := i.current()
	if m == nil {
		return Peer{}, false
	}
	return m.peer, true
}

func (i *Identity) current() *membership {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.cert
}

// CSR returns a request for a certificate, DER, signed with this machine's key.
func (i *Identity) CSR(name string) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, i.key)
}

// SetCertificate stores the certificate that the cluster issued, and its
// authority's, both DER. It refuses one for another key or of another authority than
// the shown one. Connections from then on use it; TLS configurations handed out before do too.
func (i *Identity) SetCertificate(leaf, authority []byte) error {
	m, err := i.membership(leaf, authority)
	if err != nil {
		return fmt.Errorf("set certificate: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	// The authority first: a certificate without it counts as not accepted.
	err = durable.WriteFile(filepath.Join(i.dir, fileAuthority), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority}))
	if err == nil {
		err = durable.WriteFile(filepath.Join(i.dir, fileCertificate), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}))
	}
	if err != nil {
		return fmt.Errorf("set certificate: %w", err)
	}
	i.cert = m
	return nil
}

func (i *Identity) membership(leafDER, caDER []byte) (*membership, error) {
	leaf, err := x509.ParseCertificate(leafDER)
	if err != nil {
		return nil, err
	}
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, err
	}
	if Fingerprint(leaf) != i.fingerprint {
		return nil, errors.New("the certificate is for another key than this machine's")
	}
	if err := leaf.CheckSignatureFrom(ca); err != nil {
		return nil, fmt.Errorf("the certificate is not of this authority: %w", err)
	}
	peer, err := peerOf(leaf)
	if err != nil {
		return nil, err
	}
	m := &membership{peer: peer, pool: x509.NewCertPool()}
	m.pool.AddCert(ca)
	m.tls = &tls.Certificate{Certificate: [][]byte{leafDER, caDER}, PrivateKey: i.key, Leaf: leaf}
	return m, nil
}

// NotAfter returns when the certificate ends, zero without one.
func (i *Identity) NotAfter() time.Time {
	if m := i.current(); m != nil {
		return m.tls.Leaf.NotAfter
	}
	return time.Time{}
}

// NeedsRenewal reports whether less than a third of the certificate's life is
// left.
func (i *Identity) NeedsRenewal(now time.Time) bool {
	m := i.current()
	return m != nil && m.tls.Leaf.NotAfter.Sub(now) < memberLife/3
}

// Holds reports whether there is a certificate for this name, by the authority with
// this certificate (DER).
func (i *Identity) Holds(name string, authority []byte) bool {
	m := i.current()
	return m != nil && m.peer.Name == name && bytes.Equal(m.tls.Certificate[1], authority)
}

// AuthorityFingerprint returns the fingerprint of the cluster's authority in the form
// of Authority.Fingerprint, empty without a certificate.
func (i *Identity) AuthorityFingerprint() string {
	m := i.current()
	if m == nil {
		return ""
	}
	ca, err := x509.ParseCertificate(m.tls.Certificate[1])
	if err != nil {
		return ""
	}
	return "sha256:" + Fingerprint(ca)
}

// GossipKeys returns the stored gossip keys, the primary first; none before
// acceptance.
func (i *Identity) GossipKeys() ([][]byte, error) {
	data, err := os.ReadFile(filepath.Join(i.dir, fileGossip))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read gossip keys: %w", err)
	}
	var keys [][]byte
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, fmt.Errorf("read gossip keys: %s is damaged: %w", fileGossip, err)
	}
	return keys, nil
}

// SetGossipKeys stores the gossip keys, the primary first.
func (i *Identity) SetGossipKeys(keys [][]byte) error {
	data, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(i.dir, fileGossip), data); err != nil {
		return fmt.Errorf("write gossip keys: %w", err)
	}
	return nil
}

// ServerConfig returns the server side of mutual TLS 1.3 between members: the
// client must show a member's certificate of this cluster, and check (nil: any
// member) must agree, on resumed sessions too. The certificate is read at each
// handshake, so renewal needs no restart.
func (i *Identity) ServerConfig(check Check) *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		ClientAuth:       tls.RequireAnyClientCert, // VerifyConnection judges it
		GetCertificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate() },
		VerifyConnection: i.verifyClient(check, true),
	}
}

// OptionalClient makes base, the configuration of a listener that people use too,
// accept members' certificates: a client need not show one, and one that is shown must
// be genuine and pass check. PeerOf tells who came. It returns a copy.
func (i *Identity) OptionalClient(base *tls.Config, check Check) *tls.Config {
	c := base.Clone()
	c.ClientAuth = tls.RequestClientCert
	c.VerifyConnection = i.verifyClient(check, false)
	return c
}

func (i *Identity) verifyClient(check Check, required bool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 && !required {
			return nil
		}
		m := i.current()
		if m == nil {
			return ErrNotAccepted
		}
		_, err := verify(state.PeerCertificates, m.pool, m.peer.Cluster, x509.ExtKeyUsageClientAuth, check)
		return err
	}
}

// ClientConfig returns the client side of mutual TLS 1.3 towards one member: the
// server must be role and name (each empty: any) of this cluster, and check (nil: any
// member) must agree. ServerName is left to the caller: it says what is wanted of
// the member, not who it is.
func (i *Identity) ClientConfig(role catalog.Role, name string, check Check) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyConnection does it: members are known by URI, not by host
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return i.certificate()
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			m := i.current()
			if m == nil {
				return ErrNotAccepted
			}
			p, err := verify(state.PeerCertificates, m.pool, m.peer.Cluster, x509.ExtKeyUsageServerAuth, check)
			if err != nil {
				return err
			}
			if (role != "" && p.Role != role) || (name != "" && p.Name != name) {
				return fmt.Errorf("%w: expected %s %q, %s %q answered", ErrNotMember, role, name, p.Role, p.Name)
			}
			return nil
		},
	}
}

// CatalogConfig is ServerConfig for the listener at which proxies replicate the
// catalog: the client's certificate must have been made for that, which is true of
// no application server's and of no exported proxy's.
func (i *Identity) CatalogConfig(check Check) *tls.Config {
	c := i.ServerConfig(check)
	verify := c.VerifyConnection
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verify(state); err != nil {
			return err
		}
		p, _, ok := PeerOf(state)
		if !ok || p.Role != catalog.RoleProxy || !slices.Contains(state.PeerCertificates[0].DNSNames, catalogName(p.Name)) {
			return fmt.Errorf("%w: %s %q has no part in the catalog", ErrNotMember, p.Role, p.Name)
		}
		return nil
	}
	return c
}

// catalogName is a name that only the certificates of those have who replicate the
// catalog.
func catalogName(member string) string { return member + ".catalog.portico" }

func (i *Identity) certificate() (*tls.Certificate, error) {
	m := i.current()
	if m == nil {
		return nil, ErrNotAccepted
	}
	return m.tls, nil
}

// readPEM returns the one block of the given type in a file.
func readPEM(path, blockType string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != blockType || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%s is damaged: it should hold one %s", path, blockType)
	}
	return block.Bytes, nil
}
