// Package alias reads the same memory as text and as bytes. Nothing is copied, so each call says
// who keeps the memory as it is for as long as somebody reads it.
package alias

import "unsafe"

// String makes a string of bytes that outlive it, and that nobody changes meanwhile.
func String(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Bytes returns the bytes of a string, which must not be changed.
func Bytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
