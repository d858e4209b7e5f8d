// Package api is the language of the admin API: what requests and answers hold,
// and the error that is answered in place of one. Server and client both speak
// it. docs/api.md describes it for everybody else.
package api
