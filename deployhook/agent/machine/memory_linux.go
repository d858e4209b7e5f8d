package machine

import (
	"bufio"
	"bytes"
	"fmt"
	"os"

	"portico/membership/catalog/messages"
)

// Memory reads the machine's memory. What the kernel would give up from its
// caches counts as free.
func Memory() messages.MemoryReport {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return messages.MemoryReport{}
	}
	return parseMeminfo(text)
}

func parseMeminfo(text []byte) (m messages.MemoryReport) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var kb int64
		if n, _ := fmt.Sscanf(lines.Text(), "MemTotal: %d kB", &kb); n == 1 {
			m.Total = kb << 10
		}
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kb); n == 1 {
			m.Free = kb << 10
		}
	}
	return m
}
