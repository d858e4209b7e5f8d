// Package exchangetest holds what every driver of exchanges must do alike: the table of raw messages (package table), run against it, and
// behaviour that no table can say. What only the streams of HTTP/2 show is in package streams; the origins and clients of both are in
// package rig.
package exchangetest
