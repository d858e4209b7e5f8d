package catalog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"time"
)

// The keys of the catalog. Each collection also has a key under gen/ that every
// change of the collection touches, so that a transaction that read a whole
// collection has one thing to compare.
const (
	keySettings  = "settings"
	preSites     = "sites/"
	preReleases  = "releases/" // SITE/DIGEST
	preDeploys   = "deploys/"
	preMembers   = "members/"
	preInvites   = "invites/"
	preInstances = "instances/"
	preAccounts  = "accounts/"
	preTokens    = "tokens/"
	preHosts     = "hosts/"    // HOST
	preReserved  = "reserved/" // PROXY or PROXY/SITE
	preSecrets   = "secrets/"  // sealed, in the view only as they are
	preAudit     = "audit/"    // not in the view
	preStore     = "store/"    // raw storage for certificates, not in the view
	preGen       = "gen/"
)

// MaxRecord is the largest record: the store is for names, digests and states,
// files travel by digest.
const MaxRecord = 64<<10 - 1

// ClusterSettings are the settings of the whole cluster. Stored under settings.
type ClusterSettings struct {
	ID      string    `json:"id"` // random, made by the first proxy, never changes
	Created time.Time `json:"created"`

	EnvSealed bool `json:"env_sealed,omitempty"` // nothing is left that an earlier version stored in the clear
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum ends a record with a sum over its key and its bytes. The database
// underneath does not sum its pages, so this is what finds a flipped bit.
func sum(key string, data []byte) []byte {
	c := crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, data)
	out := make([]byte, 0, len(data)+9)
	out = append(out, data...)
	out = append(out, '\n')
	return hex.AppendEncode(out, []byte{byte(c >> 24), byte(c >> 16), byte(c >> 8), byte(c)})
}

// unsum returns the bytes of a record whose sum is right.
func unsum(key string, value []byte) ([]byte, error) {
	n := len(value) - 9
	if n < 0 || value[n] != '\n' || !bytes.Equal(sum(key, value[:n])[n:], value[n:]) {
		return nil, fmt.Errorf("%w: record %q does not match its checksum", ErrCorrupt, key)
	}
	return value[:n:n], nil
}

// checkValue refuses a value of the store that is no record of its key.
func checkValue(key string, value []byte) (err error) {
	if len(value) == 0 {
		return nil // deleted, or without content
	}
	switch prefix, _ := splitKey(key); prefix {
	case keySettings, preSites, preReleases, preDeploys, preMembers, preInvites, preInstances, preAccounts, preTokens, preAudit:
		_, err = unsum(key, value)
	}
	return err
}

// encode writes a record as JSON with its sum.
func encode(key string, record any) ([]byte, error) {
	data, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encode %q: %w", key, err)
	}
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("%w: record %q has %d bytes, the most is %d", ErrInvalid, key, len(data), MaxRecord)
	}
	return sum(key, data), nil
}

// decode reads a record. Fields that it does not know are ignored: a newer
// proxy of the same cluster may have written them.
func decode[T any](key string, value []byte) (*T, error) {
	data, err := unsum(key, value)
	if err != nil {
		return nil, err
	}
	record := new(T)
	if err := json.Unmarshal(data, record); err != nil {
		return nil, fmt.Errorf("%w: record %q: %w", ErrCorrupt, key, err)
	}
	return record, nil
}

// clone copies a record deeply, so that what a change does to it cannot reach
// the view.
func clone[T any](r *T) T {
	var out T
	data, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		panic(fmt.Sprintf("BUG: clone %T: %v", r, err))
	}
	return out
}
