package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"portico/internal/pause"
	"portico/internal/statedir"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
)

// The account that local commands use. It has no password: its token lies in
// client.json, which only the owner of the state folder can read.
const localAccount = command.LocalAccount

// minted is a token that this process has made for client.json. It is kept until the file
// has it: whether the catalog has it already is not known after a time-out.
type minted struct {
	token catalog.Token
	plain string
}

// leaveAccess leaves the local administrator's access in the state folder. What keeps it
// from there keeps nobody from serving: it is tried again, see settle.
func (p *Proxy) leaveAccess(ctx context.Context) error {
	brief, cancel := context.WithTimeout(ctx, accessWait)
	defer cancel()
	if err := p.writeClientFile(brief); err != nil {
		p.log.Warn("access for local commands not written: it is tried again", "error", err)
	}
	return nil
}

// accessWait is how long a start waits for the token of the first client.json.
const accessWait = 2 * time.Second

// writeClientFile brings client.json up to date. The token in it stays for as long as it
// is good: a command that runs for hours outlives restarts and upgrades of its proxy.
func (p *Proxy) writeClientFile(ctx context.Context) error {
	path := p.path(statedir.ClientFile)
	have, _ := statedir.ReadAccess(path) // one that cannot be read is replaced
	want := statedir.Access{Addr: reachable(p.listener.Addr()), Fingerprint: p.authority.Fingerprint(), Token: have.Token}
	now := time.Now()
	if !goodLocalToken(p.catalog.View(), p.conf.Proxy.Name, have.Token, now) {
		if !p.catalog.HasLeader() {
			return catalog.ErrNoMajority
		}
		if p.local.plain == "" {
			p.local.token, p.local.plain = command.NewToken(localAccount, command.LocalTokenLabel(p.conf.Proxy.Name), 0, now)
		}
		var err error
		if want.Token, err = localToken(ctx, p.catalog, p.conf.Proxy.Name, have.Token, p.local, now); err != nil {
			return err
		}
	}
	if want != have {
		if err := statedir.WriteAccess(path, want); err != nil {
			return err
		}
	}
	p.local = minted{}
	return nil
}

// goodLocalToken reports whether plain is this proxy's token for local commands.
func goodLocalToken(v *catalog.View, proxy, plain string, now time.Time) bool {
	_, t, err := command.VerifyToken(v, plain, now)
	return err == nil && t.Account == localAccount && t.Label == command.LocalTokenLabel(proxy)
}

// localToken returns what client.json is to hold: the token that it has, if that is good,
// else the fresh one, which then is the only one of this proxy; other proxies keep theirs.
// It can be tried again with the same one after a time-out.
func localToken(ctx context.Context, c *catalog.Catalog, proxy, have string, fresh minted, now time.Time) (token string, err error) {
	_, err = c.Update(ctx, func(tx *catalog.Tx) error {
		for _, token = range []string{have, fresh.plain} {
			if goodLocalToken(tx.View(), proxy, token, now) {
				return nil
			}
		}
		if _, err := tx.Account(localAccount); errors.Is(err, catalog.ErrNotFound) {
			err = command.CreateAccount(tx, catalog.Account{Name: localAccount, Role: catalog.RoleAdmin}, now)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		for _, old := range tx.Tokens() {
			// Once, the label did not say whose token it is: there was one proxy.
			if old.Account == localAccount && (old.Label == fresh.token.Label || old.Label == statedir.ClientFile) {
				if err := command.ReplaceToken(tx, old.ID, fresh.token.ID); err != nil {
					return err
				}
			}
		}
		return command.CreateToken(tx, fresh.token, now)
	})
	if err != nil {
		return "", fmt.Errorf("make the local administrator's token: %w", err)
	}
	return token, nil
}

// How long settle waits between two tries.
const (
	settleFirst = 200 * time.Millisecond
	settleMost  = 10 * time.Second
)

// settle does what a start left undone because the catalog or the disk took no changes,
// until both have.
func (p *Proxy) settle(ctx context.Context) {
	said := ""
	for wait := settleFirst; ; wait = min(2*wait, settleMost) {
		err := p.settleIn(ctx)
		if err == nil {
			err = p.writeClientFile(ctx)
		}
		switch {
		case err == nil && said != "":
			p.log.Info("what the start left undone is done")
			fallthrough
		case err == nil:
			return
		case ctx.Err() != nil:
			return
		case err.Error() != said:
			said = err.Error()
			p.log.Warn("the start left something undone: it is tried again", "error", err)
		}
		if pause.For(ctx, wait) != nil {
			return
		}
	}
}
