package agent

import (
	"fmt"
	"net"
	"net/netip"
	"os/user"
	"strconv"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/portowner"
	"portico/deployhook/agent/process"
	"portico/deployhook/agent/state"
)

// A port of this machine belongs to whoever binds it first, sites included. So
// each connection to one is asked whose its other end is before the first byte
// goes out: a visitor's cookies are for that site alone.

// allowed judges the user at the other end of a connection, see
// portowner.Dialer. Nil: anybody may answer.
type allowed = func(uid int) error

// dialer returns one that lets only the allowed answer, where this system tells.
func (a *Agent) dialer(ok allowed) *portowner.Dialer {
	d := &portowner.Dialer{Dialer: net.Dialer{}}
	if a.asksOwners {
		d.Allow = ok
	}
	return d
}

// onlyUser allows one user id.
func (a *Agent) onlyUser(uid int) allowed {
	return func(got int) error {
		if got == uid {
			return nil
		}
		return fmt.Errorf("the port is held by %s", a.who(got))
	}
}

// hookUsers allows what a site of kind hook may answer from: the site's own user
// and the accounts that the machine names in agent.hook_users; where it names
// none, everybody but the other sites.
func (a *Agent) hookUsers(uid int) allowed {
	return func(got int) error {
		switch {
		case got == uid, account.Among(got, a.o.HookUsers):
			return nil
		case len(a.o.HookUsers) == 0 && !a.sites.Has(got):
			return nil
		}
		return fmt.Errorf("the port is held by %s: if the application server runs as that user, name it in agent.hook_users on this machine", a.who(got))
	}
}

// who names a user for people: the site whose own id it is, or the account.
func (a *Agent) who(uid int) string {
	site := ""
	a.state.Peek(func(s *state.File) {
		for name, id := range s.UIDs {
			if id == uid {
				site = name
			}
		}
	})
	if site != "" {
		return fmt.Sprintf("site %s (user id %d)", site, uid)
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return fmt.Sprintf("user %s (id %d)", u.Username, uid)
	}
	return fmt.Sprintf("user id %d", uid)
}

// listensAt returns who listens at a port of this machine, at the addresses where
// sites are asked; false when nobody does, or nobody tells.
func listensAt(port int) (portowner.Holder, bool) {
	for _, host := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		if h, err := portowner.Listener(netip.AddrPortFrom(host, uint16(port))); err == nil {
			return h, true
		}
	}
	return portowner.Holder{}, false
}

// holder names somebody who listens, with a process where one is to be seen.
func (a *Agent) holder(h portowner.Holder) string {
	if len(h.PIDs) == 0 {
		return a.who(h.UID)
	}
	return fmt.Sprintf("%s, pid %d", a.who(h.UID), h.PIDs[0])
}

// foreignProcess returns who holds a port that p answers at if it is seen to be
// another process, though of the same user.
func foreignProcess(port int, p *process.Process) (portowner.Holder, bool) {
	h, ok := listensAt(port)
	if !ok || len(h.PIDs) == 0 {
		return h, false
	}
	return h, !p.HasOneOf(h.PIDs)
}

// listenRemedy says who holds the address that the agent is to listen at.
func (a *Agent) listenRemedy(addr string) string {
	const other = "choose another address with --listen (agent.address)"
	ap, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return other
	}
	h, ok := listensAt(ap.Port)
	if !ok {
		return other
	}
	return fmt.Sprintf("it is held by %s: end that, or %s", a.holder(h), other)
}
