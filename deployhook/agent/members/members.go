package members

import (
	"cmp"
	"crypto/tls"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"portico/deployhook/objects"
	"portico/membership/catalog"
	"portico/membership/catalog/messages"
)

// Options say how members are reached.
type Options struct {
	Name      string                                           // of this member
	Proxies   []messages.Peer                                  // where to ask first
	ClientTLS func(role catalog.Role, name string) *tls.Config // towards a member; nil: nobody is asked
	Identify  func(tls.ConnectionState) error                  // asked of each connection; nil: everybody is known
	Nudge     <-chan int64                                     // revisions heard of by gossip; nil: none
	Logger    *slog.Logger
}

// Members is the agent's way to proxies and other members.
type Members struct {
	o    Options
	made connections

	mu      sync.Mutex
	proxies []messages.Peer
	servers []messages.Peer
	good    string // address that answered last
	clients map[clientKey]*http.Client
}

// New knows the configured proxies, and no other member before Set.
func New(o Options) *Members {
	return &Members{
		o: o, made: connections{identify: o.Identify},
		proxies: slices.Clone(o.Proxies), clients: make(map[clientKey]*http.Client),
	}
}

// Set learns from a wanted state where to ask next time. The configured proxies
// stay known: they are the way back after all others have changed.
func (m *Members) Set(w messages.Wanted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// A member without an address can be let in, but not asked.
	m.proxies = slices.DeleteFunc(slices.Clone(w.Proxies), func(x messages.Peer) bool { return x.Addr == "" })
	for _, c := range m.o.Proxies {
		if !slices.ContainsFunc(m.proxies, func(x messages.Peer) bool { return x.Addr == c.Addr }) {
			m.proxies = append(m.proxies, c)
		}
	}
	m.servers = slices.DeleteFunc(slices.Clone(w.Servers), func(x messages.Peer) bool { return x.Name == m.o.Name })
	known := make(map[clientKey]bool)
	for _, x := range m.proxies {
		known[clientKey{catalog.RoleProxy, x}] = true
	}
	for _, x := range m.servers {
		known[clientKey{catalog.RoleServer, x}] = true
	}
	for k, c := range m.clients {
		if !known[k] {
			c.CloseIdleConnections()
			delete(m.clients, k)
		}
	}
}

// Any reports whether there is a proxy to ask at all.
func (m *Members) Any() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.proxies) > 0 && m.o.ClientTLS != nil
}

// Order returns the proxies, the one that answered last first.
func (m *Members) Order() []messages.Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Clone(m.proxies)
	slices.SortStableFunc(list, func(a, b messages.Peer) int {
		return cmp.Compare(btoi(a.Addr != m.good), btoi(b.Addr != m.good))
	})
	return list
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (m *Members) remember(addr string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ok {
		m.good = addr
	} else if m.good == addr {
		m.good = ""
	}
}

// Sources returns everybody who may hold objects: other application servers
// first, they are many and the proxies are busy.
func (m *Members) Sources() []objects.Source {
	m.mu.Lock()
	servers, proxies := m.servers, m.proxies
	m.mu.Unlock()
	if m.o.ClientTLS == nil {
		return nil
	}
	var list []objects.Source
	for _, x := range servers {
		list = append(list, objects.Source{Name: x.Name, URL: "https://" + x.Addr, Client: m.client(catalog.RoleServer, x)})
	}
	for _, x := range proxies {
		list = append(list, objects.Source{Name: cmp.Or(x.Name, x.Addr), URL: "https://" + x.Addr, Client: m.client(catalog.RoleProxy, x)})
	}
	return list
}

// Recheck cuts the connections to members that Options.Identify does not accept any more.
func (m *Members) Recheck() { m.made.recheck() }

// Close gives the connections up that nobody uses.
func (m *Members) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.clients {
		c.CloseIdleConnections()
	}
}

// Counted returns the names of the proxies whose word is needed before an instance
// stops: those that the wanted state names and that can send anything here. Empty: whoever answers.
func (m *Members) Counted() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, x := range m.proxies {
		if x.Name != "" {
			names = append(names, x.Name)
		}
	}
	return names
}

// Recipients returns the proxies that get a copy of each report, beside the one that
// writes it down. A configured address may be that of a proxy that is known by name, so it
// gets none once there are names.
func (m *Members) Recipients(recorder string) []messages.Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []messages.Peer
	for _, x := range m.proxies {
		if x.Name != "" && x.Name != recorder {
			list = append(list, x)
		}
	}
	return list
}
