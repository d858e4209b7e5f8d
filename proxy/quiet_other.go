//go:build !unix

package proxy

import "net"

// quiet reports whether nothing has arrived on an idle connection. It cannot be
// told without taking it here; the age of the connection decides alone.
func quiet(net.Conn) bool { return true }
