// Package cluster starts proxies and agents of a built portico on loopback, in a folder that goes away with them: for benchmarks of whole
// clusters. What is measured, and the sites, are the benchmarks' own.
package cluster
