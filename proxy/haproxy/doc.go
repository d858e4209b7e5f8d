// Package haproxy speaks HAProxy's language: a complete haproxy.cfg for the
// live cluster that honours the same sticky cookies, and the statistics CSV
// with HAProxy's names and order.
//
// The words frontend, backend and server mean here what HAProxy means by them:
// a backend is a site's pool, a server an instance.
package haproxy
