// Package tlstrim gives back the buffers that crypto/tls keeps with a connection while they are empty: those in which it has read the
// handshake, and the longest record that has come. A connection that waits holds them for nothing, and crypto/tls has no call for it.
//
// It reaches into tls.Conn by the names and types of its fields. Where a version of Go has them no more, it does nothing; a test says so.
package tlstrim

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// layout is where the buffers lie within a tls.Conn.
type layout struct {
	raw   uintptr // a bytes.Buffer: records as they came
	input uintptr // a bytes.Reader: plaintext within one of them that nobody has read yet
	hand  uintptr // a bytes.Buffer: handshake messages
	known bool
}

var fields = find(reflect.TypeFor[tls.Conn]())

func find(conn reflect.Type) layout {
	raw, ok1 := conn.FieldByName("rawInput")
	input, ok2 := conn.FieldByName("input")
	hand, ok3 := conn.FieldByName("hand")
	if !ok1 || !ok2 || !ok3 {
		return layout{}
	}
	buffer, reader := reflect.TypeFor[bytes.Buffer](), reflect.TypeFor[bytes.Reader]()
	return layout{raw.Offset, input.Offset, hand.Offset, raw.Type == buffer && input.Type == reader && hand.Type == buffer}
}

// Held is how large the buffer is that c reads records into.
func Held(c *tls.Conn) int { return fields.held(c) }

// Trim gives back what c holds for nothing. Nobody may use c meanwhile; what was read and not used yet stays.
func Trim(c *tls.Conn) { fields.trim(c) }

func (f layout) held(c *tls.Conn) int {
	if !f.known {
		return 0
	}
	return at[bytes.Buffer](c, f.raw).Cap()
}

func (f layout) trim(c *tls.Conn) {
	if !f.known {
		return
	}
	raw, input, hand := at[bytes.Buffer](c, f.raw), at[bytes.Reader](c, f.input), at[bytes.Buffer](c, f.hand)
	if hand.Len() == 0 {
		*hand = bytes.Buffer{}
	}
	if raw.Len() == 0 && input.Len() == 0 { // plaintext lies in raw's memory
		*raw = bytes.Buffer{}
		input.Reset(nil)
	}
}

func at[T any](c *tls.Conn, offset uintptr) *T { return (*T)(unsafe.Add(unsafe.Pointer(c), offset)) }
