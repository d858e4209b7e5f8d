// Package handshakes bounds how many TLS handshakes run at once, and keeps the goroutines that make them.
package handshakes
