// Package loop drives HTTP/1.1 exchanges with run-to-completion event loops: on Linux, one epoll loop for each core serves client and
// upstream sockets alike, owns its connection pools, timers and buffers, and never blocks but in its wait.
//
// TLS handshakes, name resolution and connections that are given away happen in goroutines; their results come back through the
// loop's inbox. On other systems New fails with ErrUnsupported; package conn serves there.
package loop

import "errors"

// ErrUnsupported says that this system has no event loop; use package conn.
var ErrUnsupported = errors.New("event loops need Linux: use the driver for connections")
