// Package catalog holds what the cluster agrees on: sites, releases, deploys,
// members, instances, accounts, settings, secrets and certificates.
//
// Everything is a small JSON record under a key; changes go through a store
// that compares before it writes, so two writers never overwrite one another
// unseen. Readers use a View: immutable, whole, and published behind one atomic
// pointer, so that nothing that reads ever waits for the store.
package catalog
