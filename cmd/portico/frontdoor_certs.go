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
	"portico/proxy/haproxy"
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

// certificates is how the hosts stand, for the page.
func (f *frontDoor) certificates() []admin.Certificate {
	var list []admin.Certificate
	for _, s := range f.certs.Status() {
		state := "valid"
		switch {
		case s.Source == "none":
			continue
		case s.NotAfter.IsZero() && s.Error != "":
			state = "failed"
		case s.NotAfter.IsZero():
			state = "waiting"
		case s.Error != "":
			state = "renewing"
		}
		list = append(list, admin.Certificate{Names: []string{s.Host}, Issuer: s.Issuer, State: state, Expiry: s.NotAfter, Error: s.Error})
	}
	return list
}

// staticSite is a site of the configuration in the words of the export.
func staticSite(s conf.Site) haproxy.StaticSite {
	out := haproxy.StaticSite{Name: s.Name, Settings: catalog.Settings{
		Kind: catalog.KindStatic, Hosts: s.Hosts, Path: s.Path, Strip: s.Strip, Policy: s.Policy,
		PolicyHeader: s.PolicyHeader, PolicyBound: s.PolicyBound, SlowStart: s.SlowStart,
		Health: catalog.HealthSettings(s.Health), Session: catalog.SessionSettings(s.Session),
		Limits: catalog.LimitSettings{Body: s.Limits.Body, Connections: s.Limits.Connections, Queue: s.Limits.Queue, Rate: s.Limits.Rate},
		TLS:    catalog.TLSSettings(s.TLS),
	}}
	for _, u := range s.Upstreams {
		out.Servers = append(out.Servers, haproxy.StaticServer{ID: "static:" + s.Name + "/" + u.Name, Name: u.Name, Addr: u.Addr, Weight: u.Weight, Backup: u.Backup})
	}
	return out
}
