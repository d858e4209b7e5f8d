package frontdoor

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"portico/certs"
	"portico/conf"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/api"
)

// openCerts makes what has the certificates of the sites. It asks for none
// before the view names hosts, and then the listeners are open.
func (p *Proxy) openCerts(context.Context) error {
	o := certs.Options{
		Catalog: p.catalog, Authority: p.authority, Logger: p.log.With("part", "certs"),
		Directory: p.conf.TLS.ACME, Email: p.conf.TLS.Email,
		HTTPPort: portOf(p.conf.Proxy.HTTP), TLSPort: portOf(p.conf.Proxy.HTTPS),
		Files: certFiles(p.conf.TLS), NoTickets: p.conf.TLS.Tickets == 0,
	}
	if p.conf.TLS.ACMERoot != "" {
		var err error
		if o.Root, err = os.ReadFile(p.conf.TLS.ACMERoot); err != nil {
			return fmt.Errorf("read tls.acme_root: %w", err)
		}
	}
	if o.HTTPPort == 0 && o.TLSPort == 0 {
		o.Directory = "" // nothing could answer its challenges
	}
	var err error
	if p.certs, err = certs.New(o); err != nil {
		return err
	}
	if err := p.takeTicketKeys(); err != nil {
		return fmt.Errorf("read ticket keys: %w", err)
	}
	return nil
}

// takeTicketKeys reads the keys of TLS session tickets.
func (p *Proxy) takeTicketKeys() error {
	keys, err := command.TicketKeys(p.catalog)
	if err != nil {
		return err
	}
	p.certs.SetTicketKeys(keys)
	return nil
}

// rotateTicketKeys makes the next ticket key when it is due.
func (p *Proxy) rotateTicketKeys(ctx context.Context, now time.Time) error {
	period := p.conf.TLS.Tickets.Std()
	if period == 0 {
		return nil
	}
	_, err := p.catalog.Update(ctx, func(tx *catalog.Tx) error { return command.RotateTicketKeys(tx, period, freshKey, now) })
	return err
}

// replaceTicketKeys makes every ticket worthless that was handed out before.
func (p *Proxy) replaceTicketKeys(ctx context.Context) error {
	period := p.conf.TLS.Tickets.Std()
	if period == 0 {
		return fmt.Errorf("%w: tls.tickets is 0: this proxy hands no session tickets out", catalog.ErrConflict)
	}
	_, err := p.catalog.Update(ctx, func(tx *catalog.Tx) error {
		return command.ReplaceTicketKeys(tx, period, freshKey, time.Now())
	})
	return err
}

// freshKey returns a random key.
func freshKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

func portOf(addr string) int {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(text)
	return n
}

func certFiles(c conf.TLS) []certs.File {
	var files []certs.File
	for _, pair := range c.Certificates {
		files = append(files, certs.File{Cert: pair.Cert, Key: pair.Key})
	}
	return files
}

// certificates is how all hosts stand.
func (p *Proxy) certificates() []api.Certificate {
	p.certs.Refresh(p.catalog.View()) // a deploy that has just ended is to find its hosts
	return certificatesFor(p.certs.Status())
}

// certificatesOf is how those of some hosts stand that sites have.
func (p *Proxy) certificatesOf(hosts []string) []api.Certificate {
	p.certs.Refresh(p.catalog.View())
	return certificatesFor(p.certs.StatusOf(hosts))
}

func certificatesFor(hosts []certs.Status) []api.Certificate {
	var list []api.Certificate
	now := time.Now()
	for _, s := range hosts {
		list = append(list, api.Certificate{
			Names: []string{s.Host}, Issuer: s.Issuer, Source: s.Source, State: certState(&s, now), Expiry: s.NotAfter, Error: s.Error, Next: s.Next,
		})
	}
	return list
}

func certState(s *certs.Status, now time.Time) string {
	switch {
	case s.Source == "none":
		return "none"
	case s.Source == "internal":
		return "valid" // issued when a visitor comes
	case s.NotAfter.IsZero() && s.Error != "":
		return "failed"
	case s.NotAfter.IsZero():
		return "waiting"
	case now.After(s.NotAfter):
		return "expired"
	case s.EndsSoon(now):
		return "ends soon"
	case s.Error != "":
		return "renewing"
	}
	return "valid"
}
