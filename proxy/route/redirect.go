package route

import (
	"net"
	"strings"

	"portico/conf/sites"
)

// Front says where visitors reach this proxy.
type Front struct {
	HTTP  string // address that is listened on for plain HTTP; "": none
	HTTPS string // the same over TLS
	TLS   bool   // there are certificates to be served

	// HasCertificate reports whether TLS could serve a host. Nil: never.
	HasCertificate func(host string) bool
}

// RedirectToTLS returns where a plain HTTP request should go instead, or "" when
// it should be served as it is. The target begins with the scheme and the
// validated host, so a path such as "//evil.test/" stays a path.
func (f *Front) RedirectToTLS(r *Rule, host, target string) string {
	switch r.Redirect {
	case sites.RedirectOff:
		return ""
	case sites.RedirectOn:
	default:
		if f.HasCertificate == nil || !f.HasCertificate(host) {
			return ""
		}
	}
	if !f.TLS || r.TLSMode == sites.TLSOff {
		return ""
	}
	if target == "" || target[0] != '/' {
		target = "/"
	}
	return "https://" + httpsHost(host, f.httpsPort()) + target
}

// httpsPort is the port that visitors reach TLS on, as far as portico knows.
func (f *Front) httpsPort() string {
	_, port, _ := net.SplitHostPort(f.HTTPS)
	return port
}

// httpsHost is host with the port of a listener for TLS, which is not said where it is 443.
func httpsHost(host, port string) string {
	if port == "443" || port == "" {
		return bracketed(host)
	}
	return net.JoinHostPort(host, port)
}

// bracketed is host as a URL has it: an IPv6 address stands in brackets.
func bracketed(host string) string {
	if strings.IndexByte(host, ':') >= 0 {
		return "[" + host + "]"
	}
	return host
}

// URLs are where a site answers: one for each of its hosts, as its settings name them, with the port where it is not the scheme's
// own. It is the one that a visitor ends up at: TLS where plain requests are sent there, or where there is no other.
// A site of all hosts is told by the address that is listened on, or by fallback where that is every
// address. Of a wildcard, the name "www" below it is told.
func (f *Front) URLs(r *Rule, hosts []string, path, fallback string) (urls []string) {
	path = strings.TrimSuffix(path, "/") + "/"
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	for _, host := range hosts {
		if name, wild := strings.CutPrefix(host, "*."); wild {
			host = "www." + name
		}
		switch {
		case f.HTTP != "":
			host = hostAt(f.HTTP, host, fallback)
			if to := f.RedirectToTLS(r, host, path); to != "" {
				urls = append(urls, to)
				continue
			}
			_, port, _ := net.SplitHostPort(f.HTTP)
			urls = append(urls, "http://"+httpHost(host, port)+path)
		case f.HTTPS != "" && r.TLSMode != sites.TLSOff:
			host = hostAt(f.HTTPS, host, fallback)
			urls = append(urls, "https://"+httpsHost(host, f.httpsPort())+path)
		}
	}
	return urls
}

// hostAt is host, or where none is named the one that leads to a listener at addr.
func hostAt(addr, host, fallback string) string {
	if host != "" {
		return host
	}
	ip, _, _ := net.SplitHostPort(addr)
	if parsed := net.ParseIP(ip); parsed == nil || parsed.IsUnspecified() {
		return fallback
	}
	return ip
}

// httpHost is host with the port of a plain listener, which is not said where it is 80.
func httpHost(host, port string) string {
	if port == "80" {
		return bracketed(host)
	}
	return net.JoinHostPort(host, port)
}
