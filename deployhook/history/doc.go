// Package history keeps what has happened to the last deploys, in memory, for those who follow one or come late. It decides nothing.
package history
