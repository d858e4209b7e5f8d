// Package streams holds what every driver must do alike with the streams of HTTP/2.
package streams
