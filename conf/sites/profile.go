package sites

import (
	"fmt"
	"slices"
	"strings"

	"portico/internal/nearest"
)

// The products that Session.Profile may name.
const (
	ProfileTomcat  = "tomcat"
	ProfileServoy  = "servoy"
	ProfilePHP     = "php"
	ProfileASPNET  = "aspnet"
	ProfileWebdev  = "webdev"
	ProfileExpress = "express"
)

// Profiles are all of these.
func Profiles() []string {
	return []string{ProfileTomcat, ProfileServoy, ProfilePHP, ProfileASPNET, ProfileWebdev, ProfileExpress}
}

// The kinds of places that Session.Profile may list instead.
const (
	PlaceCookie    = "cookie"
	PlaceHeader    = "header"
	PlaceQuery     = "query"
	PlaceSegment   = "segment"   // of the path; its name is how it begins
	PlaceParameter = "parameter" // of a segment of the path
)

var places = []string{PlaceCookie, PlaceHeader, PlaceQuery, PlaceSegment, PlaceParameter} // read only

// profileFault says what is wrong with a profile, to be read behind it; nothing if it is right.
// It is the name of a product, or places divided by blanks, such as "cookie:SID
// header:X-Session query:sid segment:CTX_ parameter:sid". Empty is right: the token is not looked for.
func profileFault(text string) string {
	if text == "" || slices.Contains(Profiles(), text) {
		return ""
	}
	if !strings.Contains(text, ":") {
		return nearest.Remedy(text, Profiles()) + ", or say where the token is, such as cookie:SID"
	}
	words := strings.Fields(text)
	if len(words) > 8 {
		return fmt.Sprintf("has %d places, which are too many: 8 at most", len(words))
	}
	for _, word := range words {
		kind, name, _ := strings.Cut(word, ":")
		if !slices.Contains(places, kind) || !Token(strings.Trim(name, "()")) {
			return fmt.Sprintf("has %q, which is no place of a token: write %s, a colon and a name", clip(word), strings.Join(places, ", "))
		}
	}
	return ""
}
