// Package tests holds portico to its promises: the built binary, started as
// real processes, driven as its users drive it, with real applications behind
// it. A file for each promise; the harness is in its own folder, and what the
// tests of other packages need too is in support.
package tests
