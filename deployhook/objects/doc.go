// Package objects keeps files by the SHA-256 of their content, moves them
// between members and assembles releases from them.
//
// An object is written to a temporary file, flushed, renamed to its digest and
// its folder flushed, so that an object which can be seen is whole. A release
// is a Tree: a sorted list of paths and digests that is itself an object, whose
// digest names the release. Two releases that share files share objects, so a
// deploy moves only what changed.
package objects
