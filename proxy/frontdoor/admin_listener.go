package frontdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"portico/certs"
	"portico/internal/descriptors"
	"portico/internal/strangers"
	"portico/proxy/admin"
)

// adminListener serves the admin handler over TLS, to people and to members.
type adminListener struct {
	net.Listener
	server    *http.Server
	busy      sync.RWMutex // held for reading by each request, for good once nothing may touch the parts any more
	strangers *strangers.Strangers
}

// Timeouts of the admin listener: bodies and answers have deadlines of their own in the handlers,
// since an upload may take hours and a stream of events lasts.
const (
	adminHeaderTimeout = 10 * time.Second
	adminIdleTimeout   = 2 * time.Minute
)

// listenAdmin binds the admin address. cert is issued by the cluster's
// authority, whose fingerprint members and commands pin.
func listenAdmin(listen func(name, address string) (net.Listener, error), addr string, config *tls.Config, handler http.Handler, log *slog.Logger) (*adminListener, error) {
	ln, err := listen("admin", addr)
	if outOfDescriptors(err) {
		return nil, fmt.Errorf("listen for administration: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for administration on %s: %w: stop what has the port, or choose another address with --admin (admin.address)", addr, err)
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	l := &adminListener{Listener: ln, strangers: strangers.New("admin", func() int { return descriptors.Share(4) }, log)}
	l.server = &http.Server{
		Handler: l.counted(handler), TLSConfig: config, ReadHeaderTimeout: adminHeaderTimeout, IdleTimeout: adminIdleTimeout,
		MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), ConnContext: withConn,
	}
	return l, nil
}

// counted lets quiet wait for the requests.
func (l *adminListener) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.busy.TryRLock() {
			return // its connection is closed already
		}
		defer l.busy.RUnlock()
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 { // a member: others did not get past the handshake
			knownConn(r)
		}
		next.ServeHTTP(w, r)
	})
}

// quiet waits until no request runs any more, after close. Those that take no notice
// of their connection's end are not waited for without end.
func (l *adminListener) quiet() {
	done := make(chan struct{})
	go func() { l.busy.Lock(); close(done) }()
	select {
	case <-done:
	case <-time.After(adminHeaderTimeout):
	}
}

func (l *adminListener) serve() error {
	err := l.server.ServeTLS(&countedListener{l.Listener, l.strangers}, "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve administration: %w", err)
}

// close ends the listener; requests under way get a moment.
func (l *adminListener) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := l.server.Shutdown(ctx); err != nil {
		_ = l.server.Close() // streams of events and long polls do not end by themselves
	}
	_ = l.Listener.Close()
}

// openAdmin makes the handler and binds its listener.
func (p *Proxy) openAdmin(context.Context) error {
	names := append([]string{"localhost", "127.0.0.1", "::1"}, p.adminNames()...)
	cert, err := newRenewing(p.authority, append(names, ownAddresses()...))
	if err != nil {
		return err
	}
	loginKey, err := p.secret(secretLogin, 32)
	if err != nil {
		return err
	}
	p.admin, err = admin.New(p.adminOptions(names, loginKey))
	if err != nil {
		return err
	}
	member := p.identity.ServerConfig(nil).GetCertificate
	base := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == certs.MemberServerName {
			return member(hello)
		}
		return cert.get(hello)
	}}
	p.listener, err = listenAdmin(p.sockets.Listen, p.conf.Admin.Address, p.identity.OptionalClient(base, p.check()), p.admin, p.log)
	return err
}

// adminNames are the names under which people may reach the admin page, beside localhost.
func (p *Proxy) adminNames() []string {
	names := append([]string{p.conf.Proxy.Name}, p.conf.Admin.Hosts...)
	if host, _, err := net.SplitHostPort(p.conf.Admin.Address); err == nil && host != "" {
		names = append(names, host)
	}
	return names
}

// ownAddresses are this machine's addresses, for the listener's certificate.
func ownAddresses() []string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() && !n.IP.IsLoopback() {
			out = append(out, n.IP.String())
		}
	}
	return out
}

// memberHandlers are the routes of members' own requests.
func (p *Proxy) memberHandlers() map[string]http.Handler {
	handlers := p.deployer.Members(certs.MemberOf(p.catalog.View))
	for pattern, h := range p.admission.Handlers() {
		handlers[pattern] = h
	}
	return handlers
}
