// Package hugepage asks the system to back memory with large pages.
package hugepage

// Size is what a large page has on the systems where Advise does anything: a piece of
// memory gains nothing unless it holds several.
const Size = 2 << 20
