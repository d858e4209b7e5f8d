package main

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
	"portico/proxy/admin"
)

// openCerts makes what has the certificates of the sites. It asks for none
// before the view names hosts, and then the listeners are open.
func (f *frontDoor) openCerts(context.Context) error {
	o := certs.Options{
		Catalog: f.catalog, Authority: f.authority, Logger: f.log.With("part", "certs"),
		Directory: f.conf.TLS.ACME, Email: f.conf.TLS.Email,
		HTTPPort: portOf(f.conf.Proxy.HTTP), TLSPort: portOf(f.conf.Proxy.HTTPS),
		Files: certFiles(f.conf.TLS), NoTickets: f.conf.TLS.Tickets == 0,
	}
	if f.conf.TLS.ACMERoot != "" {
		var err error
		if o.Root, err = os.ReadFile(f.conf.TLS.ACMERoot); err != nil {
			return fmt.Errorf("read tls.acme_root: %w", err)
		}
	}
	if o.HTTPPort == 0 && o.TLSPort == 0 {
		o.Directory = "" // nothing could answer its challenges
	}
	var err error
	if f.certs, err = certs.New(o); err != nil {
		return err
	}
	if err := f.takeTicketKeys(); err != nil {
		return fmt.Errorf("read ticket keys: %w", err)
	}
	return nil
}

// takeTicketKeys reads the keys of TLS session tickets.
func (f *frontDoor) takeTicketKeys() error {
	keys, err := f.catalog.TicketKeys()
	if err != nil {
		return err
	}
	f.certs.SetTicketKeys(keys)
	return nil
}

// rotateTicketKeys makes the next ticket key when it is due.
func (f *frontDoor) rotateTicketKeys(ctx context.Context, now time.Time) error {
	period := f.conf.TLS.Tickets.Std()
	if period == 0 {
		return nil
	}
	_, err := f.catalog.Update(ctx, func(tx *catalog.Tx) error { return catalog.RotateTicketKeys(tx, period, freshKey, now) })
	return err
}

// replaceTicketKeys makes every ticket worthless that was handed out before.
func (f *frontDoor) replaceTicketKeys(ctx context.Context) error {
	period := f.conf.TLS.Tickets.Std()
	if period == 0 {
		return fmt.Errorf("%w: tls.tickets is 0: this proxy hands no session tickets out", catalog.ErrConflict)
	}
	_, err := f.catalog.Update(ctx, func(tx *catalog.Tx) error {
		return catalog.ReplaceTicketKeys(tx, period, freshKey, time.Now())
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

// certificates is how the hosts stand.
func (f *frontDoor) certificates() []admin.Certificate {
	f.certs.Refresh(f.catalog.View()) // a deploy that has just ended is to find its hosts
	var list []admin.Certificate
	now := time.Now()
	for _, s := range f.certs.Status() {
		list = append(list, admin.Certificate{
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
