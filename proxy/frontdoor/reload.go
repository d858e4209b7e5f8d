package frontdoor

import (
	"context"
	"reflect"

	"portico/conf"
)

// Reload takes over what can change while traffic runs. Files that cannot be used change nothing.
func (p *Proxy) Reload(ctx context.Context, c conf.Config) error {
	if err := CheckFiles(c); err != nil {
		return err
	}
	for _, setting := range needRestart(p.loaded, c) {
		p.log.Warn("setting needs a restart to take effect", "setting", setting)
	}
	if p.options.Level != nil {
		p.options.Level.Set(c.Log.MinLevel())
	}
	if err := p.certs.SetFiles(certFiles(c.TLS)); err != nil {
		p.log.Error("certificate files not reloaded", "error", err)
	}
	if p.access != nil {
		if err := p.access.Reopen(); err != nil {
			p.log.Error("access log not reopened", "error", err)
		}
	}
	p.sites.Store(&c.Sites)
	p.web.SetStatic(c.Sites)
	if err := p.reserveHosts(ctx); err != nil {
		p.log.Warn("the hosts of the configuration file are not in the catalog yet: it is tried again", "error", err)
	}
	p.log.Info("configuration reloaded")
	return nil
}

// needRestart names the settings that differ and are read only at the start.
func needRestart(old, now conf.Config) []string {
	var changed []string
	compare := func(name string, same bool) {
		if !same {
			changed = append(changed, name)
		}
	}
	compare("dir", old.Dir == now.Dir)
	compare("proxy", reflect.DeepEqual(old.Proxy, now.Proxy))
	compare("admin", reflect.DeepEqual(old.Admin, now.Admin))
	compare("catalog", reflect.DeepEqual(old.Catalog, now.Catalog))
	compare("gossip", old.Gossip == now.Gossip)
	compare("upload", old.Upload == now.Upload)
	compare("tls.acme", old.TLS.ACME == now.TLS.ACME && old.TLS.Email == now.TLS.Email && old.TLS.ACMERoot == now.TLS.ACMERoot)
	compare("tls.tickets", old.TLS.Tickets == now.TLS.Tickets)
	compare("log.format", old.Log.Format == now.Log.Format)
	compare("log.access", old.Log.Access == now.Log.Access && old.Log.AccessFormat == now.Log.AccessFormat)
	return changed
}
