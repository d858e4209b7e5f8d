package agent

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

func isRoot() bool { return os.Geteuid() == 0 }

// availableIDs chooses the range of user ids for sites: want if it is set, else
// the first of the standard ranges that this user namespace has.
func availableIDs(want IDRange) (IDRange, error) {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return IDRange{}, fmt.Errorf("read user id map: %w", err)
	}
	candidates := []IDRange{sharedIDs, containerIDs}
	if want.Count > 0 {
		candidates = []IDRange{want}
	}
	for _, r := range candidates {
		if r.First > 0 && idsMapped(string(b), r) {
			return r, nil
		}
	}
	return IDRange{}, fmt.Errorf("the user ids %d to %d do not exist in this user namespace: set site_user to an unprivileged account, or give the container more ids",
		candidates[0].First, candidates[0].First+candidates[0].Count-1)
}

// idsMapped reports whether one line of a uid_map covers all of r.
func idsMapped(uidMap string, r IDRange) bool {
	for line := range strings.Lines(uidMap) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		first, err1 := strconv.ParseInt(f[0], 10, 64)
		count, err2 := strconv.ParseInt(f[2], 10, 64)
		if err1 == nil && err2 == nil && int64(r.First) >= first && int64(r.First+r.Count) <= first+count {
			return true
		}
	}
	return false
}
