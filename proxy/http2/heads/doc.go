// Package heads writes the header blocks of HTTP/2 down as heads of HTTP/1, so that one parser holds one set of rules for every version. It
// demands what is HTTP/2's alone: pseudo-fields, small letters, nothing that belongs to a connection (RFC 9113, 8.2 and 8.3; RFC 8441).
//
// It sees a block field by field, in the order of the block, and borrows the memory of the text.
package heads
