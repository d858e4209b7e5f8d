package sticky

import (
	"fmt"
	"strings"

	"portico/conf/sites"
)

// Place is one place where an application's own session token can be.
type Place struct {
	Kind string // of sites.PlaceCookie and so on
	Name string // of a segment: how it begins

	// route says that the part behind the first dot is the route of a server, not of
	// the session: it may change while the session stays.
	route bool
}

// Profile says where a product keeps the token.
type Profile struct {
	Places []Place

	// silent says that the product may open a session without telling in a header,
	// so that a visitor has to be pinned from the first request on.
	Silent bool
}

// profiles are the names that session.profile may have beside places of its own.
var profiles = map[string]Profile{ // read only
	// Servlet 6.0 section 7.1: the cookie JSESSIONID, the path parameter jsessionid. Tomcat's Engine
	// appends "." and its jvmRoute (Tomcat documentation, config/engine).
	sites.ProfileTomcat: {Places: []Place{{Kind: sites.PlaceCookie, Name: "JSESSIONID", route: true}, {Kind: sites.PlaceParameter, Name: "jsessionid", route: true}}},
	// A Servoy application is a WAR on Tomcat with a jvmRoute for each worker (Servoy wiki, Servoy
	// Application Server Configuration for Load Balancing).
	sites.ProfileServoy: {Places: []Place{{Kind: sites.PlaceCookie, Name: "JSESSIONID", route: true}, {Kind: sites.PlaceParameter, Name: "jsessionid", route: true}}},
	// session.name is PHPSESSID unless php.ini says otherwise; with session.use_trans_sid it is in the
	// query (PHP manual, Session: Runtime Configuration).
	sites.ProfilePHP: {Places: []Place{{Kind: sites.PlaceCookie, Name: "PHPSESSID"}, {Kind: sites.PlaceQuery, Name: "PHPSESSID"}}},
	// sessionState cookieName is ASP.NET_SessionId, cookieless puts (S(token)) into the path (.NET Framework,
	// sessionState element); ASP.NET Core's SessionDefaults.CookieName is .AspNetCore.Session.
	sites.ProfileASPNET: {Places: []Place{{Kind: sites.PlaceCookie, Name: "ASP.NET_SessionId"}, {Kind: sites.PlaceCookie, Name: ".AspNetCore.Session"}, {Kind: sites.PlaceSegment, Name: "(S("}}},
	// The context of a dynamic WEBDEV site is a path segment that begins with CTX_, as the addresses of public
	// sites show. The pages' forms bear it, which no header tells.
	sites.ProfileWebdev: {Places: []Place{{Kind: sites.PlaceSegment, Name: "CTX_"}}, Silent: true},
	// The option name of express-session is connect.sid by default (its README).
	sites.ProfileExpress: {Places: []Place{{Kind: sites.PlaceCookie, Name: "connect.sid"}}},
}

// ParseProfile reads session.profile: the name of a product, or places such as
// "cookie:SID header:X-Session". Empty: the application's token is not looked for.
func ParseProfile(text string) (Profile, error) {
	if p, ok := profiles[text]; ok || text == "" {
		return p, nil
	}
	var p Profile
	for _, word := range strings.Fields(text) {
		kind, name, _ := strings.Cut(word, ":")
		switch kind {
		case sites.PlaceCookie, sites.PlaceHeader, sites.PlaceQuery:
		case sites.PlaceSegment, sites.PlaceParameter: // the body's links may be the first to bear them
			p.Silent = true
		default:
			return p, fmt.Errorf("session.profile: %q is no product and no place", word)
		}
		if name == "" {
			return p, fmt.Errorf("session.profile: %q names nothing", word)
		}
		p.Places = append(p.Places, Place{Kind: kind, Name: name})
	}
	return p, nil
}
