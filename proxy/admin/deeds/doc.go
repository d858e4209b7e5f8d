// Package deeds does what operators decide: it drains and empties members, instances and
// releases, lets members in and turns them out, begins rollbacks, cancels deploys, removes sites.
// The API's routes and the page's buttons both come here.
//
// Who may is asked before, what a deed would cut is proxy/admin/forecast's to say, and the
// audit is written by who called.
package deeds
