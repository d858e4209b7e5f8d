// Package rig is what tests put around a driver of exchanges: scripted origins, a handler that remembers, raw clients of HTTP/1 and HTTP/2,
// slow sides.
package rig
