package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"portico/conf/sites"
)

// sealedEnv is what is sealed of a site or a release: values of the environment are
// secrets more often than not.
type sealedEnv struct {
	Manifest map[string]string `json:"manifest,omitempty"`
	Override json.RawMessage   `json:"override,omitempty"`
}

// sealRecord returns a record as it is stored. Views and changes have it in the clear.
func (s *sealer) sealRecord(key string, record any) (any, error) {
	var env sealedEnv
	switch r := record.(type) {
	case Site:
		env.Manifest = r.Manifest.Env
		rest, override, err := cutEnv(r.Override)
		if err != nil {
			return nil, fmt.Errorf("seal %q: %w", key, err)
		}
		r.Manifest.Env, r.Override, env.Override = nil, rest, override
		if r.Sealed = s.sealEnv(key, env); r.Sealed != nil {
			return r, nil
		}
	case Release:
		env.Manifest = r.Manifest.Env
		rest, override, err := cutEnv(r.Override)
		if err != nil {
			return nil, fmt.Errorf("seal %q: %w", key, err)
		}
		if r.Override != nil {
			rest = sites.StoredOverride(rest)
		}
		r.Manifest.Env, r.Override, env.Override = nil, rest, override
		if r.Sealed = s.sealEnv(key, env); r.Sealed != nil {
			return r, nil
		}
	}
	return record, nil
}

func (s *sealer) sealEnv(key string, env sealedEnv) []byte {
	if len(env.Manifest) == 0 && len(env.Override) == 0 {
		return nil
	}
	plain, err := json.Marshal(env)
	if err != nil {
		panic("BUG: encode environment: " + err.Error())
	}
	return s.seal(key, plain)
}

// cutEnv takes the environment out of what operators have set.
func cutEnv(override json.RawMessage) (rest, env json.RawMessage, err error) {
	if !bytes.Contains(bytes.ToLower(override), []byte(`env`)) {
		return override, nil, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(override, &object); err != nil {
		return nil, nil, err
	}
	found := map[string]json.RawMessage{}
	for key, v := range object {
		if strings.EqualFold(key, "env") {
			found[key] = v
			delete(object, key)
		}
	}
	if len(found) == 0 {
		return override, nil, nil
	}
	if env, err = json.Marshal(found); err != nil || len(object) == 0 {
		return nil, env, err
	}
	rest, err = json.Marshal(object)
	return rest, env, err
}

// openSite puts what was sealed of a site back, and reports whether it was stored in the
// clear, as earlier versions did.
func (s *sealer) openSite(key string, r *Site) (clear bool, err error) {
	if r.Sealed == nil {
		_, env, err := cutEnv(r.Override)
		return len(r.Manifest.Env) > 0 || len(env) > 0 || err != nil, nil
	}
	return false, s.putBack(key, &r.Sealed, &r.Manifest, &r.Override)
}

// openRelease does the same for a release.
func (s *sealer) openRelease(key string, r *Release) (clear bool, err error) {
	if r.Sealed == nil {
		return len(r.Manifest.Env) > 0, nil
	}
	return false, s.putBack(key, &r.Sealed, &r.Manifest, &r.Override)
}

// putBack undoes sealRecord for one record.
func (s *sealer) putBack(key string, sealed *[]byte, manifest *sites.Settings, override *json.RawMessage) error {
	if s == nil {
		return fmt.Errorf("%w: record %q has sealed values, and there is no key", ErrWrongKey, key)
	}
	var env sealedEnv
	plain, err := s.open(key, *sealed)
	if err == nil {
		err = json.Unmarshal(plain, &env)
	}
	if err != nil {
		return err
	}
	*sealed, manifest.Env = nil, env.Manifest
	if len(env.Override) > 0 {
		*override, err = sites.MergeOverride(*override, env.Override)
	}
	return err
}

// sealChunk is how many records one change of sealClear writes.
const sealChunk = 50

// sealClear seals what an earlier version stored in the clear: the environments of sites and releases, and what the audit tells of
// changes to them. Then it drops the history of the embedded store, because a backup would hold the clear text. The first proxy that
// gets there does it, once in a cluster's life.
func (c *Catalog) sealClear(ctx context.Context) error {
	v := c.View()
	if v.Settings.EnvSealed && len(v.clear) == 0 {
		return nil
	}
	for keys := range slices.Chunk(slices.Sorted(maps.Keys(v.clear)), sealChunk) {
		if _, err := c.Update(ctx, func(tx *Tx) error { return tx.sealAgain(keys) }); err != nil {
			return err
		}
	}
	if err := c.hideInAudit(ctx); err != nil {
		return err
	}
	_, err := c.Update(ctx, func(tx *Tx) error {
		s := tx.Settings()
		s.EnvSealed = true
		return tx.PutSettings(s)
	})
	if err != nil || c.o.Outside != nil {
		return err
	}
	return c.store.Load().ForgetHistory(ctx, c.View().Revision)
}

// sealAgain writes records as they are.
func (tx *Tx) sealAgain(keys []string) error {
	for _, key := range keys {
		prefix, name := splitKey(key)
		var err error
		switch prefix {
		case preSites:
			var s Site
			if s, err = tx.Site(name); err == nil {
				err = tx.PutSite(s)
			}
		case preReleases:
			var r Release
			site, digest, _ := strings.Cut(name, "/")
			if r, err = tx.Release(site, digest); err == nil {
				err = tx.PutRelease(r)
			}
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// hideInAudit takes values out of the entries that earlier versions wrote.
func (c *Catalog) hideInAudit(ctx context.Context) error {
	entries, err := c.Audit(ctx, 0)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e AuditEntry) bool {
		return e.Action != "set site" || !strings.Contains(strings.ToLower(e.Detail), `env`)
	})
	for chunk := range slices.Chunk(entries, sealChunk) {
		_, err := c.Update(ctx, func(tx *Tx) error {
			for _, e := range chunk {
				if e.Detail = string(sites.HideOverrideEnv(json.RawMessage(e.Detail))); e.Detail == "" {
					e.Detail = "settings, " + sites.Hidden // cut short, so it cannot be read
				}
				if err := tx.Audit(e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
