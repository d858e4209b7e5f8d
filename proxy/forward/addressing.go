package forward

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"portico/balancer"
	"portico/proxy/route"
	"portico/proxy/site"
)

// addressing replaces the addresses in an answer by those that the visitor knows, as nginx's proxy_redirect and Apache's ProxyPassReverse
// do. They differ where the mount path is stripped before the application sees it, and where an application tells its own address.
type addressing struct {
	front       *route.Front
	site        *site.Site
	mount       string // "": the application sees it
	proto, host string // the visitor's
	instance    *balancer.Spec
}

func (h *Handler) addressing(st *site.Site, c *Client, instance *balancer.Upstream) addressing {
	m := addressing{front: h.Front, site: st, proto: c.Proto, host: c.Host, instance: instance.Spec()}
	if st.Strip {
		m.mount = st.Mount
	}
	return m
}

// addressFields name one address each.
var addressFields = [3]string{"Location", "Content-Location", "Refresh"}

// field maps the addresses in a field of an answer, and reports whether it changed.
func (m *addressing) field(name, v string) (string, bool) {
	switch name {
	case "Set-Cookie":
		return m.cookie(v)
	case "Link":
		return m.link(v)
	case "Refresh":
		return m.refresh(v)
	case "Location":
		if m.site.Rewrites&site.RewriteLocation != 0 {
			return m.url(v)
		}
	case "Content-Location":
		if m.site.Rewrites&site.RewriteContentLocation != 0 {
			return m.url(v)
		}
	}
	return v, false
}

// refresh maps the address of "5; url=/next", as browsers read it.
func (m *addressing) refresh(v string) (string, bool) {
	at := strings.Index(strings.ToLower(v), "url=")
	if at < 0 || m.site.Rewrites&site.RewriteRefresh == 0 {
		return v, false
	}
	at += len("url=")
	to, changed := m.url(strings.Trim(v[at:], " \"'"))
	if !changed {
		return v, false
	}
	return v[:at] + to, true
}

// link maps the targets of links (RFC 8288, 3), which stand in angle brackets. What looks like one in a quoted parameter is none.
func (m *addressing) link(v string) (string, bool) {
	if m.site.Rewrites&site.RewriteLink == 0 {
		return v, false
	}
	out, from, quoted := "", 0, false
	for i := 0; i < len(v); i++ {
		switch {
		case quoted && v[i] == '\\':
			i++
		case v[i] == '"':
			quoted = !quoted
		case v[i] == '<' && !quoted:
			length := strings.IndexByte(v[i:], '>')
			if length < 0 {
				return out + v[from:], from > 0
			}
			if to, changed := m.url(v[i+1 : i+length]); changed {
				out += v[from:i+1] + to
				from = i + length
			}
			i += length
		}
	}
	return out + v[from:], from > 0
}

// namesAddresses reports whether an answer of that status sends the visitor somewhere by its fields, or tells where something is. A page
// that renews itself is looked at under a mount path alone.
func namesAddresses(status int) bool { return status == 201 || status >= 300 && status < 400 }

// url maps a path or a URL that leads to the site or the instance, and reports whether it changed. What leads elsewhere stays.
func (m *addressing) url(v string) (string, bool) {
	scheme, rest, absolute := strings.Cut(v, "://")
	if !absolute || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		if !strings.HasPrefix(v, "/") || strings.HasPrefix(v, "//") {
			return v, false
		}
		return m.path(v)
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, path := rest[:end], rest[end:]
	switch {
	case m.isInstance(scheme, authority):
		path, _ = m.path(path)
		return m.proto + "://" + m.host + path, true
	case strings.EqualFold(authority, m.host):
		path, changed := m.path(path)
		if m.secures(scheme) {
			scheme, changed = "https", true
		}
		return scheme + "://" + authority + path, changed
	}
	return v, false
}

// secures reports whether http before the visitor's own host is to be https, because the application does not know of TLS. It may
// also mean what it says, so that is only where it cannot: plain HTTP would be sent back to TLS, or the port is that of TLS.
func (m *addressing) secures(scheme string) bool {
	if m.proto != "https" || !strings.EqualFold(scheme, "http") {
		return false
	}
	_, port, _ := net.SplitHostPort(m.host)
	host, ok := route.ParseHost(m.host)
	return ok && (port != "" || m.front.RedirectToTLS(&m.site.Rule, host, "/") != "")
}

// isInstance reports whether an authority is the instance's, the port of the scheme left out or not. Behind an agent the port is that of
// the instance's process, not the agent's.
func (m *addressing) isInstance(scheme, authority string) bool {
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		host, port = strings.Trim(authority, "[]"), map[string]string{"http": "80", "https": "443"}[strings.ToLower(scheme)]
	}
	_, own, _ := net.SplitHostPort(m.instance.Addr)
	if !m.instance.Static {
		own = strconv.Itoa(m.instance.Port)
	}
	return port == own && m.isInstanceHost(host)
}

// isInstanceHost reports whether a host is the instance's. Behind an agent that is its machine, to itself and to others.
func (m *addressing) isInstanceHost(host string) bool {
	own, _, err := net.SplitHostPort(m.instance.Addr)
	return err == nil && (strings.EqualFold(host, own) || loopback(host) && (loopback(own) || !m.instance.Static))
}

// loopback reports whether a host is the machine itself to whoever says it.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() || strings.EqualFold(host, "localhost")
}

// path puts the mount path back before a path, which may be empty.
func (m *addressing) path(p string) (string, bool) {
	bare := p
	if end := strings.IndexAny(p, "?#"); end >= 0 {
		bare = p[:end]
	}
	if m.mount == "" || route.UnderMount(bare, m.mount) {
		return p, false
	}
	return m.mount + p, true
}

// cookie maps the attributes of a Set-Cookie field.
func (m *addressing) cookie(v string) (string, bool) {
	out, from, changed := "", 0, false
	for at := strings.IndexByte(v, ';'); at >= 0 && at < len(v); {
		end := len(v)
		if next := strings.IndexByte(v[at+1:], ';'); next >= 0 {
			end = at + 1 + next
		}
		if attribute, differs := m.attribute(v[at:end]); differs {
			out += v[from:at] + attribute
			from, changed = end, true
		}
		at = end
	}
	return out + v[from:], changed
}

// attribute maps one with the semicolon before it. It puts the mount path back before a Path, so that applications beside each other
// under one host keep their cookies apart. A cookie without a Path belongs to the request's path, which is below the mount path anyway. A
// Domain that is the instance's own host is dropped, because browsers would refuse the cookie; without one it belongs to the visitor's
// host alone.
func (m *addressing) attribute(part string) (string, bool) {
	name, value, _ := strings.Cut(part, "=")
	value = strings.TrimSpace(value)
	switch word := strings.TrimSpace(name[1:]); {
	case strings.EqualFold(word, "path"):
		if m.site.Rewrites&site.RewriteCookiePath != 0 && m.mount != "" && strings.HasPrefix(value, "/") && !route.UnderMount(value, m.mount) {
			return name + "=" + m.mount + strings.TrimSuffix(value, "/"), true
		}
	case strings.EqualFold(word, "domain"):
		visited, _ := route.ParseHost(m.host)
		domain := strings.TrimPrefix(value, ".")
		if m.site.Rewrites&site.RewriteCookieDomain != 0 && m.isInstanceHost(domain) && !strings.EqualFold(domain, visited) {
			return "", true
		}
	}
	return part, false
}
