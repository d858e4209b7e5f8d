// Package proxies is what the proxies of a cluster know together: the sessions and
// requests of each instance, added up, and one session, found, ended or moved at
// whichever proxy has it. Each asks the others, and answers them.
//
// It shows nothing and asks nobody who he is: the admin listener does. How a question
// reaches another proxy is its caller's.
package proxies
