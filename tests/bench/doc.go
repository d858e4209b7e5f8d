// Command bench measures portico beside HAProxy, nginx and a bare TCP relay, in one run on one machine.
//
// The proxy under test runs on one core, load generator and origin on another. The proxies take turns, round after round, so that
// whatever else the machine does hits all of them; what is printed are medians with their spread. CPU time comes from the operating
// system's accounting of all processes of a proxy, user and system. Beside the median of the turns' 99.9th percentiles stands that of
// the answers of all turns together, which is what visitors meet. Spans in brackets, and behind that percentile, hold the figure in
// nine of ten draws of as many turns out of those that were made: a claim whose span crosses 1 is not shown.
//
//	go run ./tests/bench                     everything, a few minutes
//	go run ./tests/bench -quick -json        a selection as one JSON object, under a minute
//	go run ./tests/bench -cases small,sticky -rounds 9
//
// tests/bench/peers.sh installs the peers. One that is not installed is left out. Linux only.
package main
