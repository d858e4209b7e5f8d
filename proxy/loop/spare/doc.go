// Package spare keeps what one goroutine needs again and again, and gives back what nobody has needed lately. Nothing in it is safe for
// concurrent use.
package spare
