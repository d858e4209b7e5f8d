package catalog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"portico/conf/sites"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/store"
)

// Tx is one change of the catalog. It reads from a view and collects what it
// writes; the commit compares everything that was read with what the store holds
// then. Records that it hands out are copies, free to be changed and put back.
// A Tx is used by one goroutine and only inside Update.
type Tx struct {
	view   *View
	sealer *sealer

	read   map[string]bool // keys whose state the change depends on; the value says whether there was one
	listed map[string]bool // collections that were read whole
	writes map[string]any  // record by key, nil: deleted
	raw    map[string][]byte
}

func newTx(v *View, s *sealer) *Tx {
	return &Tx{view: v, sealer: s, read: map[string]bool{}, listed: map[string]bool{}, writes: map[string]any{}, raw: map[string][]byte{}}
}

// View returns the view that the change reads from, without what the change has
// written so far. What is read through it is not compared at the commit: use it
// for large scans whose outcome is checked again by reading single records.
func (tx *Tx) View() *View { return tx.view }

// get returns the record under key as the change sees it.
func get[T any](tx *Tx, key, what string, in map[string]*T, name string) (T, error) {
	if w, ok := tx.writes[key]; ok {
		if w != nil {
			r := w.(T)
			return clone(&r), nil
		}
		var none T
		return none, fmt.Errorf("%s %q: %w", what, name, ErrNotFound)
	}
	r, ok := in[name]
	tx.read[key] = ok
	if !ok {
		var none T
		return none, fmt.Errorf("%s %q: %w", what, name, ErrNotFound)
	}
	return clone(r), nil
}

// all returns the records of a collection in the order of their names.
func all[T any](tx *Tx, prefix string, in map[string]*T) []T {
	tx.listed[prefix] = true
	names := maps.Clone(in)
	if names == nil {
		names = map[string]*T{}
	}
	for key, w := range tx.writes {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			delete(names, name)
			if w != nil {
				r := w.(T)
				names[name] = &r
			}
		}
	}
	out := make([]T, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out = append(out, clone(names[name]))
	}
	return out
}

func set[T any](tx *Tx, key string, r T) {
	tx.writes[key] = clone(&r)
}

func (tx *Tx) remove(key string) { tx.writes[key] = nil }

// Settings returns the settings of the cluster.
func (tx *Tx) Settings() ClusterSettings {
	if w, ok := tx.writes[keySettings]; ok {
		return w.(ClusterSettings)
	}
	tx.read[keySettings] = tx.view.ClusterID != ""
	return tx.view.Settings
}

// PutSettings writes the settings of the cluster. The id cannot change.
func (tx *Tx) PutSettings(s ClusterSettings) error {
	if id := tx.Settings().ID; id != "" && id != s.ID {
		return fmt.Errorf("%w: the cluster's id is %q and cannot become %q", ErrInvalid, id, s.ID)
	}
	set(tx, keySettings, s)
	return nil
}

// Site returns a site, or ErrNotFound.
func (tx *Tx) Site(name string) (Site, error) {
	return get(tx, preSites+name, "site", tx.view.Sites, name)
}

// Sites returns all sites by name.
func (tx *Tx) Sites() []Site { return all(tx, preSites, tx.view.Sites) }

// PutSite writes a site.
func (tx *Tx) PutSite(s Site) error {
	if err := sites.ValidName("site", s.Name); err != nil {
		return err
	}
	set(tx, preSites+s.Name, s)
	return nil
}

// DeleteSite removes a site's record. One that does not exist is no error.
func (tx *Tx) DeleteSite(name string) { tx.remove(preSites + name) }

// Release returns a release, or ErrNotFound.
func (tx *Tx) Release(site, digest string) (Release, error) {
	return get(tx, preReleases+site+"/"+digest, "release", tx.view.Releases[site], digest)
}

// Releases returns the releases of a site, newest first.
func (tx *Tx) Releases(site string) []Release {
	out := all(tx, preReleases+site+"/", tx.view.Releases[site])
	slices.SortStableFunc(out, func(a, b Release) int { return b.Created.Compare(a.Created) })
	return out
}

// PutRelease writes a release.
func (tx *Tx) PutRelease(r Release) error {
	if err := sites.ValidName("site", r.Site); err != nil {
		return err
	}
	if err := ids.ValidRelease(r.Digest); err != nil {
		return err
	}
	set(tx, preReleases+r.Site+"/"+r.Digest, r)
	return nil
}

// DeleteRelease removes a release's record.
func (tx *Tx) DeleteRelease(site, digest string) { tx.remove(preReleases + site + "/" + digest) }

// Deploy returns a deploy, or ErrNotFound.
func (tx *Tx) Deploy(id string) (Deploy, error) {
	return get(tx, preDeploys+id, "deploy", tx.view.deploys, id)
}

// Deploys returns all deploys, newest first.
func (tx *Tx) Deploys() []Deploy {
	out := all(tx, preDeploys, tx.view.deploys)
	slices.SortFunc(out, func(a, b Deploy) int { return cmp.Compare(b.ID, a.ID) })
	return out
}

// PutDeploy writes a deploy.
func (tx *Tx) PutDeploy(d Deploy) error {
	if err := ids.Valid("deploy", d.ID); err != nil {
		return err
	}
	set(tx, preDeploys+d.ID, d)
	return nil
}

// DeleteDeploy removes a deploy's record.
func (tx *Tx) DeleteDeploy(id string) { tx.remove(preDeploys + id) }

// Member returns a member, or ErrNotFound.
func (tx *Tx) Member(name string) (Member, error) {
	return get(tx, preMembers+name, "member", tx.view.Members, name)
}

// Members returns all members by name, also those that are not accepted.
func (tx *Tx) Members() []Member { return all(tx, preMembers, tx.view.Members) }

// PutMember writes a member.
func (tx *Tx) PutMember(m Member) error {
	if err := sites.ValidName("member", m.Name); err != nil {
		return err
	}
	set(tx, preMembers+m.Name, m)
	return nil
}

// DeleteMember removes a member's record, and with it the memory of its key.
func (tx *Tx) DeleteMember(name string) { tx.remove(preMembers + name) }

// Invite returns an invitation, or ErrNotFound.
func (tx *Tx) Invite(id string) (Invite, error) {
	return get(tx, preInvites+id, "invite", tx.view.Invites, id)
}

// PutInvite writes an invitation.
func (tx *Tx) PutInvite(i Invite) error {
	if err := ids.Valid("invite", i.ID); err != nil {
		return err
	}
	set(tx, preInvites+i.ID, i)
	return nil
}

// DeleteInvite removes an invitation.
func (tx *Tx) DeleteInvite(id string) { tx.remove(preInvites + id) }

// Instance returns an instance, or ErrNotFound.
func (tx *Tx) Instance(id string) (Instance, error) {
	return get(tx, preInstances+id, "instance", tx.view.Instances, id)
}

// PutInstance writes an instance.
func (tx *Tx) PutInstance(i Instance) error {
	if err := ids.ValidInstance(i.ID); err != nil {
		return err
	}
	set(tx, preInstances+i.ID, i)
	return nil
}

// DeleteInstance removes an instance's record.
func (tx *Tx) DeleteInstance(id string) { tx.remove(preInstances + id) }

// Account returns an account, or ErrNotFound.
func (tx *Tx) Account(name string) (Account, error) {
	return get(tx, preAccounts+name, "account", tx.view.Accounts, name)
}

// Accounts returns all accounts by name.
func (tx *Tx) Accounts() []Account { return all(tx, preAccounts, tx.view.Accounts) }

// PutAccount writes an account.
func (tx *Tx) PutAccount(a Account) error {
	if err := sites.ValidName("account", a.Name); err != nil {
		return err
	}
	set(tx, preAccounts+a.Name, a)
	return nil
}

// DeleteAccount removes an account's record, not its tokens: see RemoveAccount.
func (tx *Tx) DeleteAccount(name string) { tx.remove(preAccounts + name) }

// Token returns a token, or ErrNotFound.
func (tx *Tx) Token(id string) (Token, error) {
	return get(tx, preTokens+id, "token", tx.view.Tokens, id)
}

// Tokens returns all tokens, oldest first.
func (tx *Tx) Tokens() []Token { return all(tx, preTokens, tx.view.Tokens) }

// PutToken writes a token.
func (tx *Tx) PutToken(t Token) error {
	if err := ids.Valid("token", t.ID); err != nil {
		return err
	}
	set(tx, preTokens+t.ID, t)
	return nil
}

// DeleteToken removes a token, which ends its use at once.
func (tx *Tx) DeleteToken(id string) { tx.remove(preTokens + id) }

// Secret returns a secret in the clear, or ErrNotFound.
func (tx *Tx) Secret(name string) ([]byte, error) {
	key := preSecrets + name
	if w, ok := tx.raw[key]; ok {
		return bytes.Clone(w), nil
	}
	s, ok := tx.view.secrets[name]
	tx.read[key] = ok
	if !ok {
		return nil, fmt.Errorf("secret %q: %w", name, ErrNotFound)
	}
	return tx.sealer.open(name, s.value)
}

// PutSecret writes a secret, sealed under the catalog's key.
func (tx *Tx) PutSecret(name string, plain []byte) error {
	if err := ids.Valid("secret", name); err != nil {
		return err
	}
	if len(plain) > MaxRecord {
		return fmt.Errorf("%w: secret %q has %d bytes, the most is %d", ErrInvalid, name, len(plain), MaxRecord)
	}
	tx.raw[preSecrets+name] = bytes.Clone(plain)
	return nil
}

// Audit appends one entry to the audit log. ID and At must be set, see [ids.New].
func (tx *Tx) Audit(e AuditEntry) error {
	if err := ids.Valid("audit entry", e.ID); err != nil {
		return err
	}
	set(tx, preAudit+e.ID, e)
	return nil
}

// dropUnchanged forgets writes that would leave a record as the view has it. The
// record counts as read then, because the outcome rests on what it holds.
func (tx *Tx) dropUnchanged() {
	for key, w := range tx.writes {
		old := tx.view.record(key)
		if w == nil {
			if old == nil && !strings.HasPrefix(key, preAudit) {
				delete(tx.writes, key)
				tx.read[key] = false
			}
			continue
		}
		if old == nil || tx.view.clear[key] {
			continue // new, or the same and to be stored sealed
		}
		was, err1 := json.Marshal(old)
		is, err2 := json.Marshal(w)
		if err1 == nil && err2 == nil && bytes.Equal(was, is) {
			delete(tx.writes, key)
			tx.read[key] = true
		}
	}
	for key, plain := range tx.raw {
		s, ok := tx.view.secrets[strings.TrimPrefix(key, preSecrets)]
		if !ok {
			continue
		}
		if was, err := tx.sealer.open(strings.TrimPrefix(key, preSecrets), s.value); err == nil && bytes.Equal(was, plain) {
			delete(tx.raw, key)
			tx.read[key] = true
		}
	}
}

// commit turns the transaction into the store's terms. No operations at all mean
// that there is nothing to do.
func (tx *Tx) commit() (compare []store.Cmp, ops []store.Op, err error) {
	touched := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(tx.writes)) {
		w := tx.writes[key]
		touched[collection(key)] = true
		if w == nil {
			ops = append(ops, store.Delete(key))
			continue
		}
		if w, err = tx.sealer.sealRecord(key, w); err != nil {
			return nil, nil, err
		}
		value, err := encode(key, w)
		if err != nil {
			return nil, nil, err
		}
		ops = append(ops, store.Put(key, value))
	}
	for key, plain := range tx.raw {
		name := strings.TrimPrefix(key, preSecrets)
		ops = append(ops, store.Put(key, tx.sealer.seal(name, plain)))
	}
	if len(ops) == 0 {
		return nil, nil, nil
	}
	delete(touched, collection(preAudit)) // nobody reads it whole
	for _, c := range slices.Sorted(maps.Keys(touched)) {
		ops = append(ops, store.Put(preGen+c, nil))
	}

	// A key is as the view has it when it was not written after the view's
	// revision, and still exists if it did then.
	next := tx.view.Revision + 1
	for key, found := range tx.read {
		if found {
			compare = append(compare, store.IfWrittenBefore(key, next), store.IfExists(key))
		} else {
			compare = append(compare, store.IfMissing(key))
		}
	}
	for prefix := range tx.listed {
		compare = append(compare, store.IfWrittenBefore(preGen+collection(prefix), next))
	}
	return compare, ops, nil
}

// collection returns the name under gen/ that stands for all keys beside key.
// The releases of all sites are one collection.
func collection(key string) string {
	prefix, _ := splitKey(key)
	return strings.TrimSuffix(prefix, "/")
}
