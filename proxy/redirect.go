package proxy

import "net"

// redirectTarget returns where a plain HTTP request should go instead, or "" when
// it should be served as it is. The target begins with the scheme and the
// validated host, so a path such as "//evil.test/" stays a path.
func (s *Server) redirectTarget(st *site, host, target string) string {
	switch st.redirect {
	case "off":
		return ""
	case "on":
	default:
		if s.o.HasCertificate == nil || !s.o.HasCertificate(host) {
			return ""
		}
	}
	if s.tls == nil || st.tlsMode == "off" {
		return ""
	}
	if target == "" || target[0] != '/' {
		target = "/"
	}
	return "https://" + hostWithPort(host, s.securePort()) + target
}

// securePort is the port that visitors reach TLS on, as far as portico knows.
func (s *Server) securePort() string {
	_, port, _ := net.SplitHostPort(s.secure.addr)
	return port
}

func hostWithPort(host, port string) string {
	if port == "443" || port == "" {
		if len(host) > 0 && isIPv6(host) {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, port)
}

func isIPv6(host string) bool {
	for i := range len(host) {
		if host[i] == ':' {
			return true
		}
	}
	return false
}
