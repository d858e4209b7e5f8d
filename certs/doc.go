// Package certs holds the certificates of the cluster: its own authority, which
// vouches for members and for names that no public authority would; the identity
// of one member with the mutual TLS built on it; and the certificates of sites,
// obtained and renewed over ACME and kept in the catalog.
package certs
