// Package account reads what Linux has counted for processes and says of the machine: for
// benchmarks. It starts and measures nothing itself.
package account
