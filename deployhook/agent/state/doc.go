// Package state keeps what an agent must know after a restart in one file of its state directory, and
// the lock by which one agent at a time works there.
package state
