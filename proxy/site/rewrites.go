package site

import "portico/conf/sites"

// Rewrites is a set of what an application says of its addresses and is turned into the visitor's.
type Rewrites uint8

// What is turned.
const (
	RewriteLocation Rewrites = 1 << iota
	RewriteContentLocation
	RewriteRefresh
	RewriteLink
	RewriteCookiePath
	RewriteCookieDomain
)

func rewritesOf(names []sites.Rewrite) (r Rewrites) {
	for _, name := range names {
		switch name {
		case sites.RewriteLocation:
			r |= RewriteLocation
		case sites.RewriteContentLocation:
			r |= RewriteContentLocation
		case sites.RewriteRefresh:
			r |= RewriteRefresh
		case sites.RewriteLink:
			r |= RewriteLink
		case sites.RewriteCookiePath:
			r |= RewriteCookiePath
		case sites.RewriteCookieDomain:
			r |= RewriteCookieDomain
		}
	}
	return r
}
