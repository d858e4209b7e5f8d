// Package apiclient calls the admin API of a proxy: a method for each route,
// uploads that begin again, and reads that outlive a proxy that restarts.
package apiclient
