package listener

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"

	"portico/deployhook/agent/relay"
	"portico/internal/records"
	"portico/membership/catalog"
)

const (
	// ObjectsName is the server name of GET /v1/objects/…, for every member.
	ObjectsName = "objects"

	sniAgent  = "agent"     // logs and health, for proxies
	sniSuffix = ".instance" // INSTANCE.instance: that instance, for proxies

	// INSTANCE.MEMBER.member.portico means the same: it stands in the member's
	// certificate, for HAProxy, which compares the two.
	sniMember = ".member.portico"
)

// instanceOf returns the instance that a server name asks for.
func instanceOf(name string) (id string, ok bool) {
	if id, ok := strings.CutSuffix(name, sniSuffix); ok {
		return id, true
	}
	if strings.HasSuffix(name, sniMember) {
		id, _, _ := strings.Cut(name, ".")
		return id, true
	}
	return "", false
}

// tlsConfig refuses unknown server names, and instances that take no connection,
// before anything else happens: a proxy sees a failed handshake, so it knows that
// nothing was sent and goes elsewhere whatever the request is, a POST too.
func (s *Server) tlsConfig() *tls.Config {
	config := s.o.TLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	inner := config.GetConfigForClient
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if err := s.reach(hello); err != nil {
			return nil, err
		}
		if inner != nil {
			return inner(hello)
		}
		return nil, nil
	}
	return config
}

// reach connects to the instance that a server name asks for. With TLS 1.3 a
// client has sent its request before anybody could tell it that the instance is
// gone, so this comes first. Who asks is not known yet: a stranger who has heard
// an instance's id can make the agent open and close a connection, no more.
func (s *Server) reach(hello *tls.ClientHelloInfo) error {
	id, ok := instanceOf(hello.ServerName)
	if !ok {
		if hello.ServerName == ObjectsName || hello.ServerName == sniAgent {
			return nil
		}
		return fmt.Errorf("no instance %q here", hello.ServerName)
	}
	inst := s.o.Instance(id)
	if inst == nil {
		return fmt.Errorf("no instance %q here", hello.ServerName)
	}
	addr := inst.Addr()
	to, wanted := hello.Context().Value(dialed{}).(*net.Conn)
	if addr == "" || !wanted {
		return nil
	}
	conn, err := s.dials.dial(hello.Context(), id, addr, inst.Allows())
	if err != nil {
		return fmt.Errorf("instance %q takes no connection: %w", id, err)
	}
	*to = conn
	return nil
}

// dialed is the key of a handshake's context under which reach leaves the
// connection to the instance.
type dialed struct{}

// handle serves a connection from its first byte to its last.
func (s *Server) handle(ctx context.Context, raw net.Conn, config *tls.Config) {
	k := s.handshake(ctx, raw, config)
	<-s.slots // not before it is in open: whoever waits for what is under way looks at both
	if k == nil {
		return
	}
	if k.inst != nil {
		defer k.inst.Close()
	}
	s.dispatch(k, k.inst)
}

// handshake lets a member in, or closes the connection and returns nil.
func (s *Server) handshake(ctx context.Context, raw net.Conn, config *tls.Config) *link {
	var inst net.Conn // nil: the agent itself answers
	bytes := &moving{Conn: raw}
	conn := tls.Server(&records.Ending{Conn: bytes}, config)
	hctx, cancel := context.WithTimeout(context.WithValue(ctx, dialed{}, &inst), handshakeTime)
	defer cancel()
	err := conn.HandshakeContext(hctx)
	if err != nil {
		s.o.Logger.Debug("connection refused", "from", raw.RemoteAddr().String(), "error", err)
	} else {
		k := &link{conn: conn, inst: inst, name: conn.ConnectionState().ServerName, bytes: bytes}
		k.instance, _ = instanceOf(k.name)
		if err = s.admit(k); err == nil {
			return k
		}
		s.o.Logger.Warn("member refused", "from", raw.RemoteAddr().String(), "error", err)
	}
	_ = conn.Close()
	if inst != nil {
		_ = inst.Close()
	}
	return nil
}

// admit remembers the connection and checks who is at the other end, in this order:
// a member that is revoked during the check is found by recheck.
func (s *Server) admit(k *link) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return http.ErrServerClosed
	}
	s.open[k] = struct{}{}
	s.mu.Unlock()
	proxy, err := s.allowed(k)
	if err != nil {
		s.mu.Lock()
		delete(s.open, k)
		s.mu.Unlock()
		return err
	}
	if proxy == "" {
		return nil
	}
	s.o.Heard(proxy)
	s.mu.Lock()
	defer s.mu.Unlock()
	k.proxy = proxy
	return nil
}

// allowed reports an error unless the other end may have this connection, and which
// proxy it is, if it is one.
func (s *Server) allowed(k *link) (proxy string, err error) {
	if s.o.Identify == nil {
		return "", nil
	}
	role, name, err := s.o.Identify(k.conn.ConnectionState())
	switch {
	case err != nil:
		return "", err
	case role == catalog.RoleProxy:
		return name, nil
	case k.name != ObjectsName:
		return "", fmt.Errorf("member %s is no proxy and may fetch objects only", name)
	}
	return "", nil
}

// dispatch hands a connection to its relay or to the HTTP server.
func (s *Server) dispatch(k *link, inst net.Conn) {
	switch {
	case k.instance != "" && s.o.Instance(k.instance) == nil: // it ended during the handshake
		s.drop(k)
	case inst != nil:
		defer s.drop(k)
		relay.Join(k.conn, inst.(*net.TCPConn), relay.Linger, strings.HasSuffix(k.name, sniSuffix))
	default:
		s.feed.put(&served{Conn: k.conn, s: s, k: k})
	}
}
