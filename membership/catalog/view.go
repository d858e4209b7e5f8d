package catalog

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"portico/membership/catalog/store"
)

// View is the catalog at one revision: whole, immutable, shared by all readers.
// Nobody may change what it points to.
type View struct {
	Revision  int64
	ClusterID string
	Settings  ClusterSettings
	Sites     map[string]*Site
	Releases  map[string]map[string]*Release // site, digest
	Deploys   []*Deploy                      // newest first
	Members   map[string]*Member
	Invites   map[string]*Invite
	Instances map[string]*Instance
	Accounts  map[string]*Account
	Tokens    map[string]*Token
	Hosts     map[string]*SharedHost // by CanonicalHost; only those that operators shared
	Reserved  map[string]*Reserved   // by PROXY or PROXY/SITE

	deploys       map[string]*Deploy
	secrets       map[string]sealed
	clear         map[string]bool // keys of records that are stored with their environment in the clear
	routes        *routes         // of Sites; nil in a view that was not read from the store
	siteInstances *siteInstances  // of Instances; nil as well
}

// sealed is a secret as it is stored, and the revision that wrote it.
type sealed struct {
	value    []byte
	revision int64
}

// Deploy returns the deploy called id, or nil.
func (v *View) Deploy(id string) *Deploy { return v.deploys[id] }

// SecretRevision returns the revision at which the secret called name last
// changed, 0 if there is none. Who uses a secret reads it again when this moves.
func (v *View) SecretRevision(name string) int64 { return v.secrets[name].revision }

// record returns the record under a key of the store, or nil.
func (v *View) record(key string) any {
	prefix, name := splitKey(key)
	switch prefix {
	case keySettings:
		if v.ClusterID != "" {
			return &v.Settings
		}
	case preSites:
		return orNil(v.Sites, name)
	case preReleases:
		site, digest, _ := strings.Cut(name, "/")
		return orNil(v.Releases[site], digest)
	case preDeploys:
		return orNil(v.deploys, name)
	case preMembers:
		return orNil(v.Members, name)
	case preInvites:
		return orNil(v.Invites, name)
	case preInstances:
		return orNil(v.Instances, name)
	case preAccounts:
		return orNil(v.Accounts, name)
	case preTokens:
		return orNil(v.Tokens, name)
	case preHosts:
		return orNil(v.Hosts, name)
	case preReserved:
		return orNil(v.Reserved, name)
	}
	return nil
}

// orNil keeps a nil pointer from becoming a record.
func orNil[T any](m map[string]*T, name string) any {
	if r, ok := m[name]; ok {
		return r
	}
	return nil
}

func emptyView() *View {
	v := &View{
		Sites:     map[string]*Site{},
		Releases:  map[string]map[string]*Release{},
		Members:   map[string]*Member{},
		Invites:   map[string]*Invite{},
		Instances: map[string]*Instance{},
		Accounts:  map[string]*Account{},
		Tokens:    map[string]*Token{},
		Hosts:     map[string]*SharedHost{},
		Reserved:  map[string]*Reserved{},
		deploys:   map[string]*Deploy{},
		secrets:   map[string]sealed{},
		clear:     map[string]bool{},
	}
	v.routes, v.siteInstances = &routes{of: v.Sites}, &siteInstances{of: v.Instances}
	return v
}

// builder makes the next view from the last one and what has changed since. Each
// map is copied at its first change only.
type builder struct {
	v       *View
	sealer  *sealer         // opens environments
	own     map[string]bool // collections whose map has been copied
	changed bool            // something that readers can see differs

	sites, instances map[string]bool // that were written or deleted
}

func newBuilder(from *View, s *sealer) *builder {
	v := *from
	return &builder{v: &v, sealer: s, own: map[string]bool{}, sites: map[string]bool{}, instances: map[string]bool{}}
}

// finish returns the view at revision.
func (b *builder) finish(revision int64) *View {
	if b.own[preDeploys] {
		b.v.Deploys = slices.SortedFunc(maps.Values(b.v.deploys), func(x, y *Deploy) int { return cmp.Compare(y.ID, x.ID) })
	}
	if b.own[preSites] {
		b.v.routes = b.v.routes.next(b.v.Sites, b.sites)
	}
	if b.own[preInstances] {
		b.v.siteInstances = b.v.siteInstances.next(b.v.Instances, b.instances)
	}
	b.v.Revision = revision
	return b.v
}

// put takes in one written key. On an error the view is as before.
func (b *builder) put(it store.Item) error {
	prefix, name := splitKey(it.Key)
	var err error
	switch prefix {
	case keySettings:
		var s *ClusterSettings
		if s, err = decode[ClusterSettings](it.Key, it.Value); err == nil {
			b.v.Settings, b.v.ClusterID = *s, s.ID
		}
	case preSites:
		err = b.putSite(name, it)
	case preReleases:
		err = b.putRelease(name, it)
	case preDeploys:
		err = put(b, prefix, &b.v.deploys, name, it)
	case preMembers:
		err = put(b, prefix, &b.v.Members, name, it)
	case preInvites:
		err = put(b, prefix, &b.v.Invites, name, it)
	case preInstances:
		err = put(b, prefix, &b.v.Instances, name, it)
		b.instances[name] = true
	case preAccounts:
		err = put(b, prefix, &b.v.Accounts, name, it)
	case preTokens:
		err = put(b, prefix, &b.v.Tokens, name, it)
	case preHosts:
		err = put(b, prefix, &b.v.Hosts, name, it)
	case preReserved:
		err = put(b, prefix, &b.v.Reserved, name, it)
	case preSecrets:
		writable(b, prefix, &b.v.secrets)
		b.v.secrets[name] = sealed{it.Value, it.Revision}
	default:
		return nil // not in the view, or of a newer version
	}
	b.changed = b.changed || err == nil
	return err
}

// del takes in one deleted key.
func (b *builder) del(key string) {
	prefix, name := splitKey(key)
	switch prefix {
	case preSites:
		del(b, prefix, &b.v.Sites, name)
		b.sites[name] = true
		b.note(key, false)
	case preReleases:
		b.delRelease(name)
		b.note(key, false)
	case preDeploys:
		del(b, prefix, &b.v.deploys, name)
	case preMembers:
		del(b, prefix, &b.v.Members, name)
	case preInvites:
		del(b, prefix, &b.v.Invites, name)
	case preInstances:
		del(b, prefix, &b.v.Instances, name)
		b.instances[name] = true
	case preAccounts:
		del(b, prefix, &b.v.Accounts, name)
	case preTokens:
		del(b, prefix, &b.v.Tokens, name)
	case preHosts:
		del(b, prefix, &b.v.Hosts, name)
	case preReserved:
		del(b, prefix, &b.v.Reserved, name)
	case preSecrets:
		del(b, prefix, &b.v.secrets, name)
	default:
		return
	}
	b.changed = true
}

func (b *builder) putSite(name string, it store.Item) error {
	r, err := decode[Site](it.Key, it.Value)
	if err != nil {
		return err
	}
	clear, err := b.sealer.openSite(it.Key, r)
	if err != nil {
		return err
	}
	b.note(it.Key, clear)
	writable(b, preSites, &b.v.Sites)
	b.v.Sites[name] = r
	b.sites[name] = true
	return nil
}

// note notes whether a record is stored in the clear.
func (b *builder) note(key string, clear bool) {
	switch {
	case clear:
		writable(b, "clear", &b.v.clear)
		b.v.clear[key] = true
	case b.v.clear[key]:
		writable(b, "clear", &b.v.clear)
		delete(b.v.clear, key)
	}
}

func (b *builder) putRelease(name string, it store.Item) error {
	r, err := decode[Release](it.Key, it.Value)
	if err != nil {
		return err
	}
	clear, err := b.sealer.openRelease(it.Key, r)
	if err != nil {
		return err
	}
	b.note(it.Key, clear)
	site, digest, _ := strings.Cut(name, "/")
	b.releasesOf(site)[digest] = r
	return nil
}

func (b *builder) delRelease(name string) {
	site, digest, _ := strings.Cut(name, "/")
	of := b.releasesOf(site)
	delete(of, digest)
	if len(of) == 0 {
		delete(b.v.Releases, site)
	}
}

// releasesOf returns the site's releases as a map that may be changed.
func (b *builder) releasesOf(site string) map[string]*Release {
	writable(b, preReleases, &b.v.Releases)
	if !b.own[preReleases+site] {
		of := maps.Clone(b.v.Releases[site])
		if of == nil {
			of = map[string]*Release{}
		}
		b.v.Releases[site] = of
		b.own[preReleases+site] = true
	}
	if b.v.Releases[site] == nil { // emptied and filled again in one batch
		b.v.Releases[site] = map[string]*Release{}
	}
	return b.v.Releases[site]
}

func put[T any](b *builder, prefix string, m *map[string]*T, name string, it store.Item) error {
	r, err := decode[T](it.Key, it.Value)
	if err != nil {
		return err
	}
	writable(b, prefix, m)
	(*m)[name] = r
	return nil
}

func del[T any](b *builder, prefix string, m *map[string]T, name string) {
	writable(b, prefix, m)
	delete(*m, name)
}

// writable copies the map unless this builder has done so before.
func writable[T any](b *builder, prefix string, m *map[string]T) {
	if !b.own[prefix] {
		*m = maps.Clone(*m)
		b.own[prefix] = true
	}
}

// splitKey cuts a key into its collection and the record's name.
func splitKey(key string) (prefix, name string) {
	if i := strings.IndexByte(key, '/'); i >= 0 {
		return key[:i+1], key[i+1:]
	}
	return key, ""
}
