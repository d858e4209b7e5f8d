// Package static serves the files of a release, and the data folders that are public: which files there
// are, in which coding a client gets one, and what a check of them says. Which releases are served, and to
// whom, is the agent's.
package static
