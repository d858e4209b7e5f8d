// Command newcomer does what somebody does who has just found the project, in each place where such
// a person may be: it clones the repository, runs the two commands of the README, opens the page, and presses
// Ctrl-C. In two places it begins with empty caches, and in one of them every test is run: that takes hours.
//
//	go run ./tests/newcomer            every place
//	go run ./tests/newcomer a\ user    this one
//	GOCACHE=… GOMODCACHE=… go run ./tests/newcomer 'no programs in the temporary folder'
//
// It needs root, to be somebody else. What is not committed is not cloned.
package main
