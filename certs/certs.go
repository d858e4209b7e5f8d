package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"

	"portico/internal/zapslog"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// LetsEncrypt is the directory of Let's Encrypt, the only one that certificates
// are asked from for public names alone.
const LetsEncrypt = certmagic.LetsEncryptProductionCA

// Options say where certificates come from.
type Options struct {
	Catalog   *catalog.Catalog // holds accounts, certificates and keys, sealed
	Authority *Authority       // for sites with tls mode "internal"; nil: there are none
	Logger    *slog.Logger     // nil: nothing is logged

	// Directory is the https URL of the ACME directory. Empty: no certificates
	// are asked for. Using one means agreeing to its terms.
	Directory string
	Email     string // told to the directory; may be empty
	Root      []byte // PEM of what the directory's own certificate chains to; empty: the system's roots

	// HTTPPort and TLSPort are where this proxy listens, 0 if it does not. The
	// directory must reach them as ports 80 and 443. The listeners must be open
	// before Sync names the first host.
	HTTPPort, TLSPort int

	Files []File // own certificates; they win for the names in them

	NoTickets bool // every connection of a visitor shakes hands in full
}

// Manager has the certificates of the sites' hosts: from files, from an ACME
// directory, from the cluster's own authority. All methods may be used
// concurrently.
type Manager struct {
	o      Options
	logger *slog.Logger
	public bool // the directory is Let's Encrypt: only public names stand a chance

	tickets tickets

	storage *storage
	cache   *certmagic.Cache
	obtain  *certmagic.Config // gets new certificates; never asks at the terminal
	maint   *certmagic.Config // renews them
	issuer  *certmagic.ACMEIssuer

	mu       sync.RWMutex
	files    map[string]*tls.Certificate // by name, also "*.example.com"
	first    *tls.Certificate            // of the files, for clients that name no host
	hosts    map[string]*host            // that sites have, by name
	internal map[string]*tls.Certificate // issued by the cluster's authority, by host
	sites    map[string]*catalog.Site    // of the last view
	hostsBy  map[string][]string         // what the sites have, by site
	claims   map[string][]claim          // by host, also of those beyond maxHosts; nil before the first Sync

	synced  chan struct{} // closed by the first Sync
	lookups chan struct{} // bounds what strangers can make us look up
	wake    chan struct{}
	slots   chan struct{} // bounds how many certificates are asked for at a time

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	stop   sync.Once
}

// New returns a manager. It loads the files of o.Files and starts the renewal;
// certificates for hosts are asked for once Sync has named them.
func New(o Options) (*Manager, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{
		o: o, logger: o.Logger, public: o.Directory == LetsEncrypt,
		hosts: map[string]*host{}, internal: map[string]*tls.Certificate{}, hostsBy: map[string][]string{},
		tickets: tickets{now: now}, synced: make(chan struct{}),
		lookups: make(chan struct{}, maxLookups), wake: make(chan struct{}, 1), slots: make(chan struct{}, maxObtaining),
	}
	if err := m.SetFiles(o.Files); err != nil {
		return nil, err
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if o.Directory != "" {
		if err := m.startACME(); err != nil {
			m.cancel()
			return nil, err
		}
		m.wg.Go(m.run)
	}
	if o.Catalog != nil {
		m.wg.Go(m.cleanUp)
	}
	m.wg.Go(m.watchExpiry)
	return m, nil
}

// RootPool reads Options.Root.
func RootPool(pem []byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("ACME root: there is no certificate in it, it must be PEM")
	}
	return roots, nil
}

// startACME sets certmagic up with a cache of its own.
func (m *Manager) startACME() error {
	if u, err := url.Parse(m.o.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("ACME directory %q: it must be an https URL, such as %s", m.o.Directory, LetsEncrypt)
	}
	var roots *x509.CertPool
	if len(m.o.Root) > 0 {
		var err error
		if roots, err = RootPool(m.o.Root); err != nil {
			return err
		}
	}
	m.storage = newStorage(m.o.Catalog)
	logger := zapslog.New(m.logger)
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) {
			m.mu.RLock()
			defer m.mu.RUnlock()
			return m.maint, nil
		},
		Logger: logger,
	})
	maint := m.config(logger, roots, false)
	m.mu.Lock()
	m.maint = maint
	m.mu.Unlock()
	m.obtain = m.config(logger, roots, true)
	m.issuer = certmagic.NewACMEIssuer(m.obtain, m.template(logger, roots))
	return nil
}

func (m *Manager) template(logger *zap.Logger, roots *x509.CertPool) certmagic.ACMEIssuer {
	return certmagic.ACMEIssuer{
		CA: m.o.Directory, Email: m.o.Email, Agreed: true, TrustedRoots: roots, Logger: logger,
		// The ports are ours already, so certmagic finds them taken and leaves the
		// answers to TLSConfig and HTTPChallengeHandler.
		AltHTTPPort: m.o.HTTPPort, DisableHTTPChallenge: m.o.HTTPPort == 0,
		AltTLSALPNPort: m.o.TLSPort, DisableTLSALPNChallenge: m.o.TLSPort == 0,
		CertObtainTimeout: obtainTimeout,
	}
}

// config returns a certmagic configuration. The one that obtains has its issuer
// wrapped, because certmagic would ask for a missing e-mail address on the
// terminal; the one that renews has it bare, because only then certmagic tells the
// directory which certificate is replaced.
func (m *Manager) config(logger *zap.Logger, roots *x509.CertPool, wrapped bool) *certmagic.Config {
	cfg := certmagic.New(m.cache, certmagic.Config{
		Storage: m.storage,
		Logger:  logger,
		OnEvent: m.onEvent,
		OCSP:    certmagic.OCSPConfig{DisableStapling: true}, // authorities have given it up
	})
	acme := certmagic.NewACMEIssuer(cfg, m.template(logger, roots))
	cfg.Issuers = []certmagic.Issuer{acme}
	if wrapped {
		cfg.Issuers = []certmagic.Issuer{silent{acme}}
	}
	return cfg
}

// silent is an ACME issuer that never asks anything.
type silent struct{ *certmagic.ACMEIssuer }

func (s silent) PreCheck(ctx context.Context, names []string, _ bool) error {
	return s.ACMEIssuer.PreCheck(ctx, names, false)
}

// TLSConfig returns the server side for visitors: TLS 1.2 and newer, HTTP/2 and
// HTTP/1.1, the certificate by the host that the client names, session tickets
// sealed with the keys of SetTicketKeys, and the answers to TLS-ALPN challenges.
// Each call returns a new one; clones of it use the same keys.
func (m *Manager) TLSConfig() *tls.Config {
	c := &tls.Config{
		MinVersion:             tls.VersionTLS12,
		NextProtos:             []string{"h2", "http/1.1", acmez.ACMETLS1Protocol},
		GetCertificate:         m.getCertificate,
		SessionTicketsDisabled: m.o.NoTickets,
	}
	m.tickets.hang(c)
	return c
}

// SetTicketKeys replaces the keys of session tickets, newest first, in every
// configuration that TLSConfig has returned. Without keys, or when none of them is
// valid any more, this process uses one of its own.
func (m *Manager) SetTicketKeys(keys []command.TicketKey) { m.tickets.take(keys) }

// Close stops renewal and what is being asked for. It may be called twice.
func (m *Manager) Close() {
	m.stop.Do(func() {
		m.cancel()
		m.wg.Wait()
		if m.cache != nil {
			m.cache.Stop()
		}
	})
}

// onEvent notes what certmagic does on its own account: renewal.
func (m *Manager) onEvent(_ context.Context, event string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.hosts[name]
	if h == nil {
		return nil
	}
	switch event {
	case "cert_obtained":
		h.err = nil
	case "cert_failed":
		h.err, _ = data["error"].(error)
	}
	return nil
}

// now is the clock of decisions about certificates.
func now() time.Time { return time.Now() }
