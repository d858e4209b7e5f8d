// Package access says who may do what at the admin listener: permissions.go has
// a line for each route, such as that by which a member is accepted.
//
// It finds out who makes a request, by token, login or password, slows those
// who guess, and tells browsers' requests that another page has made.
package access
