package sites

import "fmt"

// maxName is the longest name: a site's name becomes a folder, a cookie and part
// of an operating system account's name.
const maxName = 40

// devices are names that Windows keeps for itself in every folder.
var devices = map[string]bool{
	"con": true, "prn": true, "aux": true, "nul": true, "conin": true, "conout": true, "clock": true,
	"com0": true, "com1": true, "com2": true, "com3": true, "com4": true, "com5": true, "com6": true, "com7": true, "com8": true, "com9": true,
	"lpt0": true, "lpt1": true, "lpt2": true, "lpt3": true, "lpt4": true, "lpt5": true, "lpt6": true, "lpt7": true, "lpt8": true, "lpt9": true,
}

// ValidName checks the name of a site, a member or an account; kind is the word
// that the error says. A name has 1 to 40 lower-case letters, digits and hyphens,
// begins with a letter or digit, does not end with a hyphen, and is not a device
// name of Windows. So it is safe as a folder, a host label and an argument.
func ValidName(kind, name string) error {
	shown := name
	if len(shown) > 60 {
		shown = shown[:60] + "…"
	}
	bad := func(why string) error {
		return fmt.Errorf("%w: %s name %q %s; use lower-case letters, digits and hyphens, such as %q", ErrInvalid, kind, shown, why, "shop-2")
	}
	switch {
	case name == "":
		return bad("is empty")
	case len(name) > maxName:
		return bad(fmt.Sprintf("has %d bytes, the most is %d", len(name), maxName))
	case name[0] == '-':
		return bad("begins with a hyphen")
	case name[len(name)-1] == '-':
		return bad("ends with a hyphen")
	case devices[name]:
		return bad("is a device name on Windows")
	}
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') {
			return bad(fmt.Sprintf("contains %q", r))
		}
	}
	return nil
}

// MaxLabels bounds the labels of one application server, and the names in a site's servers.
const MaxLabels = 32
