// Package balancer decides which upstream gets the next request, and keeps
// visitors on the instance that holds their session.
//
// It has no clock, no network and no log: every call that depends on time takes
// now, in Unix milliseconds, and whoever probes and forwards tells what happened
// through Observe and Done. Pick, Done, Seal and Open allocate nothing, and no
// lock is shared by all requests. A sticky cookie can be judged with nothing but
// the cluster's session keys; the table of sessions only counts, so that losing
// it loses no visitor's place.
package balancer
