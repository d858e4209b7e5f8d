// Package table is the table of raw requests, raw answers and expected bytes that the parser, every driver and the whole proxy are held to,
// and how messages are compared by what they mean.
package table
