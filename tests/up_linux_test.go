package tests

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"portico/tests/harness"
)

// loopbackOnly demands that no process of up listens on an address that others reach (D1).
func loopbackOnly(t *testing.T, u upProcess) {
	t.Helper()
	listening := 0
	for _, pid := range append(harness.Descendants(u.Pid()), u.Pid()) {
		own := map[string]bool{}
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // none of a process that has just ended
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
				own[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
			}
		}
		for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
			f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", u.Pid(), table)) // not of "self": a thread of this process may be in another namespace
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for lines := bufio.NewScanner(f); lines.Scan(); {
				// "sl local_address rem_address st … inode": 0A is LISTEN, 07 an open UDP socket.
				fields := strings.Fields(lines.Text())
				if len(fields) < 10 || !own[fields[9]] || fields[3] != "0A" && fields[3] != "07" {
					continue
				}
				listening++
				address, port, _ := strings.Cut(fields[1], ":")
				if number, err := strconv.ParseUint(port, 16, 16); err != nil || !strings.HasSuffix(address, "7F") && address != "00000000000000000000000001000000" {
					t.Errorf("up listens on %s, port %d (%s), %v", address, number, table, err)
				}
			}
		}
	}
	if listening < 6 {
		t.Errorf("only %d sockets were found", listening)
	}
}
