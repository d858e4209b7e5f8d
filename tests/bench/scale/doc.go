// Command scale measures what changes cost where there is much: thousands of sites in one proxy, thousands of files in one site.
// It starts a built portico on loopback, in folders that go away, and prints a figure for each line of a table:
//
//	1  one change with all sites: the proxy's CPU time, visitors' latency before and meanwhile
//	2  changes in quick succession: how many answers are lost, and when all is as before
//	3  a start: time to the first answer, memory
//	4  a request to a host drawn from all sites beside one to always the same: the proxy's CPU time
//	5  a site of many files to two application servers beside rsync -a to two folders: time, CPU time of all processes
//	6  ten of its files changed: time, bytes from the client and to each server
//
// Two more lines of that table have benchmarks of their own: new TLS connections are case tlsnew of tests/bench, a proxy
// and an agent at rest are tests/bench/rest.
//
//	go run ./tests/bench/scale                          all lines, 5,000 sites of 4 instances, several minutes
//	go run ./tests/bench/scale -lines 1,3 -sites 1000
//	go run ./tests/bench/scale -lines 1 -from catalog   sites of the catalog in place of those of the configuration file
//	go run ./tests/bench/scale -beside ./before -rounds 3   another build in turns, medians of three
//	go run ./tests/bench/scale -lines 1 -profile DIR    CPU profiles of the proxy there, one for each line
//
// Instances are addresses of 127.0.0.0/8, all answered by this program, which is their visitors too: its work takes part of the same cores.
// A check of each comes every -interval; with the default of a real site, two seconds, 20,000 checks would take more than two cores.
// Without rsync line 5 has nothing to be compared to, and says so. Linux only.
package main
