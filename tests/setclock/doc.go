// Package setclock holds the test that really sets the system's clock, in a kernel of its own.
package setclock
