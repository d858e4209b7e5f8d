package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"portico/membership"
	"portico/membership/catalog"
	"portico/proxy/admin"
)

// makeStateDir makes the folder of all state. Site processes of other accounts
// pass through it on an application server, so it is no more than that for
// them: everything secret lies in folders of mode 0700.
func makeStateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("make the state folder: %w: give another with --dir", err)
	}
	return nil
}

// enrolProxy makes this proxy a member of its own cluster.
func (f *frontDoor) enrolProxy(ctx context.Context) error {
	hello, err := f.hello(ctx)
	if err != nil {
		return err
	}
	return membership.Enroll(ctx, f.catalog, f.authority, f.identity, hello, time.Now())
}

// The account that local commands use. It has no password: its token lies in
// client.json, which only the owner of the state folder can read.
const localAccount = catalog.LocalAccount

// localToken gives the local account a new token for this proxy and ends those of
// its earlier starts; other proxies keep theirs.
func localToken(ctx context.Context, c *catalog.Catalog, proxy string) (string, error) {
	now := time.Now()
	token, plain := catalog.NewToken(localAccount, catalog.LocalTokenLabel(proxy), 0, now)
	_, err := c.Update(ctx, func(tx *catalog.Tx) error {
		if _, err := tx.Account(localAccount); errors.Is(err, catalog.ErrNotFound) {
			err = catalog.CreateAccount(tx, catalog.Account{Name: localAccount, Role: catalog.RoleAdmin}, now)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		for _, old := range tx.Tokens() {
			// Once, the label did not say whose token it is: there was one proxy.
			if old.Account == localAccount && (old.Label == token.Label || old.Label == clientFile) {
				tx.DeleteToken(old.ID)
			}
		}
		return catalog.CreateToken(tx, token, now)
	})
	if err != nil {
		return "", fmt.Errorf("make the local administrator's token: %w", err)
	}
	return plain, nil
}

// setPassword makes an administrator's account with that password.
func setPassword(ctx context.Context, c *catalog.Catalog, name, secret string) error {
	hash, err := admin.HashPassword(secret)
	if err != nil {
		return err
	}
	now := time.Now()
	_, err = c.Update(ctx, func(tx *catalog.Tx) error {
		_, err := catalog.ChangeAccount(tx, name, func(a *catalog.Account) error {
			a.Password, a.Role = hash, catalog.RoleAdmin
			return nil
		})
		if errors.Is(err, catalog.ErrNotFound) {
			return catalog.CreateAccount(tx, catalog.Account{Name: name, Role: catalog.RoleAdmin, Password: hash}, now)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("make account %s: %w", name, err)
	}
	return nil
}

// isLoopback reports whether a listening address is for this machine alone.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// reachable is a listener's address as a client on this machine would dial it.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
}
