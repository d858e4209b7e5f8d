// Command rest measures what portico costs while nobody visits: proxies, an agent and sites of the default settings stand
// there, half of them processes and half of them files, and what the system has counted for each process is printed: CPU time as a share of
// one core, and how often a second the process was woken.
//
//	go run ./tests/bench/rest                    one proxy, one agent, 6 sites, a minute
//	go run ./tests/bench/rest -proxies 3 -json   a cluster of three, as one JSON object
//	go run ./tests/bench/rest -program ./portico another build
//	go run ./tests/bench/rest -beside ./before -rounds 5   a cluster of another build beside it, medians of five stretches of time
//
// Two builds are counted in the same stretches, so that other work on the machine meets both alike.
//
// Other work on the machine makes a process that wakes often dearer: caches are cold each time. Linux only.
package main
