package api

import (
	"fmt"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// SiteInfo is one line of GET /v1/sites.
type SiteInfo struct {
	Name         string         `json:"name"`
	Release      string         `json:"release,omitempty"`
	Candidate    string         `json:"candidate,omitempty"`
	Deploy       string         `json:"deploy,omitempty"`
	Begun        string         `json:"begun,omitempty"` // after a change of settings: the deploy by which it comes about
	Settings     sites.Settings `json:"settings"`        // joined, with defaults
	Override     any            `json:"override,omitempty"`
	Instances    []InstanceInfo `json:"instances"`
	Sessions     int64          `json:"sessions"`
	Recounting   bool           `json:"recounting,omitempty"`   // there may be more sessions: see MemberInfo
	Certificates []Certificate  `json:"certificates,omitempty"` // of its hosts, at the proxy that was asked
	URLs         []string       `json:"urls,omitempty"`         // where it answers at the proxy that was asked
	Created      time.Time      `json:"created"`
	Updated      time.Time      `json:"updated"`
}

// InstanceInfo is one instance of a site and what the proxy thinks of it.
type InstanceInfo struct {
	catalog.Instance
	Upstream   string `json:"upstream,omitempty"` // HAProxy's status words; empty: the proxy does not know it
	Sessions   int64  `json:"sessions"`
	Recounting bool   `json:"recounting,omitempty"` // there may be more sessions: see MemberInfo
}

// ReleaseInfo is one line of GET /v1/sites/{site}/releases.
type ReleaseInfo struct {
	Digest   string    `json:"digest"`
	Archive  string    `json:"archive"`
	Size     int64     `json:"size"`
	Files    int       `json:"files"`
	Created  time.Time `json:"created"`
	By       string    `json:"by"`
	Current  bool      `json:"current"`
	Retiring bool      `json:"retiring,omitempty"`
}

// RollbackRequest is the body of POST /v1/sites/{site}/rollback. An empty
// release means the one before the current one; a prefix of at least six
// characters will do.
type RollbackRequest struct {
	Release string `json:"release,omitempty"`
	NoPin   bool   `json:"no_pin,omitempty"` // cut the sessions of the present release once the other is in rotation
}

// HostInfo is one line of GET /v1/hosts: a host that somebody has. "*" stands for every
// host that no site names.
type HostInfo struct {
	Host     string    `json:"host"`
	Path     string    `json:"path,omitempty"`  // empty: shared with the site, which does not name it yet
	Site     string    `json:"site,omitempty"`  // empty: the name of a proxy's admin page
	Owner    string    `json:"owner,omitempty"` // account that installed the site first
	Proxy    string    `json:"proxy,omitempty"` // whose admin page or configuration file has it
	SharedBy string    `json:"shared_by,omitempty"`
	SharedAt time.Time `json:"shared_at,omitzero"`
	Beside   []string  `json:"beside,omitempty"` // accounts beside whose sites it may have the host

	Certificate *Certificate `json:"certificate,omitempty"` // at the proxy that was asked; nil: it does not know the host
}

// HostRequest is the body of POST /v1/hosts/{host}/share, unshare and move.
type HostRequest struct {
	Site string `json:"site"`
}

// Certificate is one line of the page's certificate table.
type Certificate struct {
	Names  []string  `json:"names"`
	Issuer string    `json:"issuer"`
	Source string    `json:"source,omitempty"` // "acme", "file", "internal" (the cluster's authority) or "none"
	State  string    `json:"state"`            // "valid", "renewing" (the last attempt failed), "ends soon", "expired", "waiting" (for the first), "failed" or "none"
	Expiry time.Time `json:"expiry,omitzero"`
	Error  string    `json:"error,omitempty"` // of the last attempt, or why there is to be none
	Next   time.Time `json:"next,omitzero"`   // when it is tried again
}

// Text says how the certificate stands.
func (c *Certificate) Text(now time.Time) string {
	switch {
	case c.State == "none":
		return "none: " + c.Error
	case c.State == "valid" && c.Expiry.IsZero():
		return "valid: the cluster's authority issues it when a visitor comes"
	case c.Expiry.IsZero() && c.Error == "":
		return "https follows: a certificate is being asked for"
	case c.Expiry.IsZero():
		return "https follows" + c.again(now) + "; last failure: " + c.Error
	}
	text := c.State + ", until " + c.Expiry.UTC().Format(time.DateOnly)
	if c.State != "valid" {
		text = fmt.Sprintf("%s, until %s (%d days)", c.State, c.Expiry.UTC().Format(time.DateOnly), int(c.Expiry.Sub(now).Hours()/24))
	}
	if c.Issuer != "" {
		text += ", by " + c.Issuer
	}
	if c.Error != "" {
		text += "; last failure: " + c.Error + c.again(now)
	}
	return text
}

// again says when the next attempt is due.
func (c *Certificate) again(now time.Time) string {
	left := c.Next.Sub(now)
	if c.Next.IsZero() || left <= 0 {
		return ""
	}
	return ", tried again in " + left.Round(time.Second).String()
}
