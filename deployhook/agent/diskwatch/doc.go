// Package diskwatch keeps a site that fills the disk from taking others with it.
//
// Two rules hold. A site that has a limit of its own is stopped when it has more
// than that on disk. And of every file system that holds the agent's state a reserve stays
// free: when less is left, the site that has grown most since the disk was well is
// stopped, if it has grown by enough to be the cause, and then the next one. A disk
// that something else fills stops no site.
//
// How much is free is asked every two seconds. What sites have is counted slowly, and at full speed
// only while the reserve is touched. Files that are deleted but still open are not
// seen by a count, and neither is what a site writes outside its folders.
package diskwatch
