// Package account says which operating system accounts sites run as: the agent's own, one that the
// machine names, or an id that each site has for itself. It knows which ids belong to sites here.
package account
