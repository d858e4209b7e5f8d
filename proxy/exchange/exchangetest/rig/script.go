package rig

import (
	"io"
	"net"
	"strings"
)

// Script writes what a row's origin answers to its nth request, and reports whether the connection goes on.
func Script(answers []string, n int, conn net.Conn) bool {
	if n > len(answers) {
		return false
	}
	a := answers[n-1]
	text, closes := strings.CutSuffix(a, "<close>")
	text, resets := strings.CutSuffix(text, "<reset>")
	if _, err := io.WriteString(conn, text); err != nil {
		return false
	}
	if resets {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	return !closes && !resets
}
