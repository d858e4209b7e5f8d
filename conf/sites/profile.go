package sites

import (
	"fmt"
	"slices"
	"strings"
)

// Profiles are the products that Session.Profile may name.
func Profiles() []string {
	return []string{"tomcat", "servoy", "php", "aspnet", "webdev", "express"}
}

// tokenPlaces are the kinds of places that Session.Profile may list instead.
var tokenPlaces = []string{"cookie", "header", "query", "segment", "parameter"} // read only

// CheckProfile reports what is wrong with a profile: it is the name of a product, or
// places divided by blanks, such as "cookie:SID header:X-Session query:sid
// segment:CTX_ parameter:sid". Empty is right: the token is not looked for.
func CheckProfile(text string) error {
	if text == "" || slices.Contains(Profiles(), text) {
		return nil
	}
	if !strings.Contains(text, ":") {
		return fmt.Errorf("%q is no product that is known: use one of %s, or say where the token is, such as cookie:%s", text, strings.Join(Profiles(), ", "), "SID")
	}
	words := strings.Fields(text)
	if len(words) > 8 {
		return fmt.Errorf("%d places are too many: 8 at most", len(words))
	}
	for _, word := range words {
		kind, name, _ := strings.Cut(word, ":")
		if !slices.Contains(tokenPlaces, kind) {
			return fmt.Errorf("%q is no place: use one of %s, each with a colon and a name", word, strings.Join(tokenPlaces, ", "))
		}
		if !token(strings.Trim(name, "()")) {
			return fmt.Errorf("%q names nothing that could be there", word)
		}
	}
	return nil
}
