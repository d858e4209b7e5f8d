// Package cgroup gives each instance of a site a control group of its own
// (cgroups(7), version 2): what it starts can be ended as a whole, whatever it
// does to hide, and limits hold for all of it together.
//
// The groups outlive the process that made them, and the next one finds them by
// name. Only Linux has them, and not every Linux lets a service use them: Open
// says in words what is missing, and everything else goes on without.
package cgroup

import "errors"

// ErrUnsupported: no control groups can be used here.
var ErrUnsupported = errors.New("no control groups here")

// Limits bound a group; zero fields do not.
type Limits struct {
	Memory    int64   // bytes of all its processes together
	Processes int     // processes and threads
	CPU       float64 // processors' worth of time
}
