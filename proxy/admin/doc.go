// Package admin is the admin listener's handler: the way of a request through its route,
// the handlers of the JSON API and of the page's addresses, health and the audit log.
//
// It promises that every route but a handful that access.Permissions names as
// public needs a credential, that one function there decides who may do what,
// that GET changes nothing, that a page of another origin can change nothing, and
// that each change leaves a line in the audit log. TLS is the caller's: New
// returns a handler for a listener that has it already.
//
// Its handlers gather and hand on. HTML is page's, sums over proxies are those of
// proxies, what a change would cut is forecast's, and what the page can do as well is deeds'.
package admin
