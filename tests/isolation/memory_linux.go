package isolation

import (
	"os"
	"strconv"
	"strings"
)

// abortedForMemory is how many connections the system has reset since it runs because there was no memory for TCP (net.ipv4.tcp_mem), or
// because too many connections were closed with bytes on their way. All programs of the machine share both.
func abortedForMemory() int64 {
	text, err := os.ReadFile("/proc/net/netstat")
	if err != nil {
		return 0
	}
	return countIn(string(text), "TCPAbortOnMemory")
}

// countIn finds a counter: a line of names stands above each line of numbers.
func countIn(text, name string) int64 {
	var names []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		for i, word := range names {
			if word == name && i < len(words) {
				n, _ := strconv.ParseInt(words[i], 10, 64)
				return n
			}
		}
		names = words
	}
	return 0
}
