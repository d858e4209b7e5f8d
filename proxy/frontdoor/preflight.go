package frontdoor

import (
	"errors"
	"fmt"
	"os"

	"portico/certs"
	"portico/conf"
	"portico/internal/exitcode"
	"portico/internal/preflight"
	"portico/membership/catalog"
)

// Preflight looks at everything on this machine that a proxy needs, but for its addresses.
func Preflight(c conf.Config) error {
	if err := CheckFiles(c); err != nil {
		return err
	}
	id, err := preflight.State(c.Dir)
	if err != nil || id == nil {
		return err
	}
	if _, err := preflight.OwnName(id, catalog.RoleProxy, "", c.Dir); err != nil {
		return exitcode.Misuse(err)
	}
	return nil
}

// Addresses are those that a start binds. The catalog's waits until there is a second proxy.
func Addresses(c conf.Config) []preflight.Address {
	list := []preflight.Address{
		{Flag: "--http", Setting: "proxy.http", Value: c.Proxy.HTTP},
		{Flag: "--https", Setting: "proxy.https", Value: c.Proxy.HTTPS},
		{Flag: "--admin", Setting: "admin.address", Value: c.Admin.Address},
		{Flag: "--gossip", Setting: "gossip.address", Value: c.Gossip.Address, UDP: true},
	}
	if len(c.Proxy.Join) > 0 {
		list = append(list, catalogAddress(c))
	}
	return list
}

func catalogAddress(c conf.Config) preflight.Address {
	return preflight.Address{Flag: "--catalog", Setting: "catalog.address", Value: c.Catalog.Address}
}

// Unjoinable says why no second proxy could join one that starts alone; nil: one could. It keeps nobody from starting: nothing listens at
// the catalog's address before.
func Unjoinable(c conf.Config) error {
	if len(c.Proxy.Join) > 0 || len(c.Catalog.Endpoints) > 0 {
		return nil
	}
	if err := preflight.TryAddresses([]preflight.Address{catalogAddress(c)}, c.Dir); err != nil {
		return fmt.Errorf("no other proxy can join this one: %w", err)
	}
	return nil
}

// CheckFiles looks whether the files that a configuration names for a proxy can be read, and hold what they must.
func CheckFiles(c conf.Config) error {
	files := map[string]string{
		"catalog.ca": c.Catalog.CA, "catalog.cert": c.Catalog.Cert, "catalog.key": c.Catalog.Key,
		"tls.acme_root": c.TLS.ACMERoot, "proxy.invite_file": c.Proxy.InviteFile,
	}
	for i, pair := range c.TLS.Certificates {
		files[fmt.Sprintf("tls.certificate %d: cert", i+1)] = pair.Cert
		files[fmt.Sprintf("tls.certificate %d: key", i+1)] = pair.Key
	}
	if err := preflight.Readable(files); err != nil {
		return err
	}
	return checkTLS(c)
}

// checkTLS reads certificates and keys as the start of a proxy does, and refuses what it would refuse.
func checkTLS(c conf.Config) error {
	errs := []error{certs.CheckFiles(certFiles(c.TLS))}
	if c.TLS.ACMERoot != "" {
		pem, err := os.ReadFile(c.TLS.ACMERoot)
		if err == nil {
			_, err = certs.RootPool(pem)
		}
		errs = append(errs, err)
	}
	if o := outsideCatalog(c.Catalog); o != nil {
		errs = append(errs, o.Check())
	}
	return errors.Join(errs...)
}
