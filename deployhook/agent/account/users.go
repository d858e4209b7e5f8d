package account

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
)

// Users are those that sites run as here: none where all run as the agent's
// own account, because nothing tells them from the machine's other programs then.
type Users struct {
	IDs   Range // each site's own
	names []string
}

// Has reports whether sites run as a user.
func (s Users) Has(uid int) bool {
	return s.OwnID(uid) || Among(uid, s.names)
}

// OwnID reports whether an id is of the range of sites that have one of their own.
func (s Users) OwnID(uid int) bool { return uid >= s.IDs.First && uid < s.IDs.First+s.IDs.Count }

// None allows everybody but the sites: for the Tomcat that all share.
func (s Users) None(uid int) error {
	if !s.Has(uid) {
		return nil
	}
	return fmt.Errorf("the port is held by a site (user id %d), not by Tomcat", uid)
}

// UsersOf returns the users of the sites here: shared is the account of all of them, empty where
// each has an id of its own; allowed are those that a site may name.
func UsersOf(shared string, allowed []string) (s Users, err error) {
	if !IsRoot() {
		return s, nil
	}
	s.names = allowed
	if shared != "" {
		s.names = append(slices.Clone(s.names), shared)
		return s, nil
	}
	s.IDs, err = available()
	return s, err
}

// Among reports whether one of the named accounts has that user id. They are
// looked up each time: accounts come and go while the agent runs.
func Among(uid int, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		u, err := user.Lookup(name)
		return err == nil && u.Uid == strconv.Itoa(uid)
	})
}
