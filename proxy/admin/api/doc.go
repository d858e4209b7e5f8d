// Package api is the language of the admin API: what requests and answers hold. What is
// answered in place of an answer is in refusal. Server and client both speak it. docs/api.md
// describes it for everybody else.
package api
