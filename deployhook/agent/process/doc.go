// Package process starts the processes of sites, with the account, the limits and the control group that
// each is to have, stops them with all that they have started, and finds those again that an agent
// before this one started.
//
// A process is first this program itself: Shim lays down its rights and takes on its limits, then becomes
// the site's program.
package process
