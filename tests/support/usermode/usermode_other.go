//go:build !linux

// Package usermode starts Linux as a program, for tests that need a kernel of their own. There is none for this system.
package usermode
