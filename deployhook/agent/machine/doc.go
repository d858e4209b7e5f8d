// Package machine tells what this machine is: how much memory it has and which runtimes are
// installed. Its disk is in diskwatch, its accounts are in account.
package machine
