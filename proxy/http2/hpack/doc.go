// Package hpack reads and writes header blocks of HTTP/2 (RFC 7541): the tables of both directions, Huffman's code, and the rules for
// what may enter a table.
//
// A field comes out with its [Kind] and with whether it is [Field.Flawed]. Both are found out once, when the field enters a table, and stay
// with it there, so that a repeated field costs a look into the table. What a block as a whole must have is not decided here.
//
// Nothing here blocks, and nothing allocates once the tables have grown. Nothing is safe for concurrent use.
package hpack
