// Package prefetch has the processor fetch memory before it is needed.
package prefetch
