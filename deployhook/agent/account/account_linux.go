package account

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// IsRoot reports whether processes can be started as other accounts.
func IsRoot() bool { return os.Geteuid() == 0 && !RootInName() }

// RootInName reports whether this user namespace has no second user: its root is who made it, by another name, as
// with `unshare --map-root-user` and in a container without subordinate ids.
func RootInName() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && hasOneID(string(b))
}

// hasOneID reports whether a uid_map holds one user and no more.
func hasOneID(uidMap string) bool {
	f := strings.Fields(uidMap)
	return len(f) == 3 && f[2] == "1"
}

// available chooses the range of user ids for sites: the first of the standard
// ranges that this user namespace has.
func available() (Range, error) {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return Range{}, fmt.Errorf("read user id map: %w", err)
	}
	for _, r := range []Range{sharedIDs, containerIDs} {
		if idsMapped(string(b), r) {
			return r, nil
		}
	}
	return Range{}, fmt.Errorf("the user ids %d to %d do not exist in this user namespace: set site_user to an unprivileged account, or give the container more ids",
		sharedIDs.First, sharedIDs.First+sharedIDs.Count-1)
}

// idsMapped reports whether one line of a uid_map covers all of r.
func idsMapped(uidMap string, r Range) bool {
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
