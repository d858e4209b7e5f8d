package archive

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckPath reports what is wrong with the path of a file in a release, nil
// when it is safe to create below any folder on Linux, macOS and Windows.
// Paths use "/" and are relative, clean and UTF-8.
func (l Limits) CheckPath(p string) error {
	l = l.WithDefaults()
	switch {
	case p == "":
		return fmt.Errorf("has an empty name")
	case len(p) > l.Path:
		return fmt.Errorf("has a path of %d bytes, more than %d", len(p), l.Path)
	case !utf8.ValidString(p):
		return fmt.Errorf("has a name that is not UTF-8")
	case strings.HasPrefix(p, "/"):
		return fmt.Errorf("has an absolute path")
	case strings.Contains(p, `\`):
		return fmt.Errorf("has a backslash in its path: pack it with forward slashes")
	case strings.ContainsFunc(p, unsafeRune):
		return fmt.Errorf("has a control character in its name")
	}
	depth := 0
	for seg := range strings.SplitSeq(p, "/") {
		if depth++; depth > l.Depth {
			return fmt.Errorf("lies more than %d folders deep", l.Depth)
		}
		if err := l.checkSegment(seg); err != nil {
			return err
		}
	}
	return nil
}

// unsafeRune reports whether r has no business in a file name: control
// characters, and the format characters that reverse or hide text on screens.
func unsafeRune(r rune) bool {
	switch {
	case unicode.IsControl(r), r == '\u2028', r == '\u2029', r == '\ufeff':
		return true
	case r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069': // directional overrides
		return true
	}
	return false
}

func (l Limits) checkSegment(seg string) error {
	switch {
	case seg == "":
		return fmt.Errorf("has an empty name in its path")
	case seg == "..":
		return fmt.Errorf(`has ".." in its path`)
	case seg == ".":
		return fmt.Errorf(`has "." in its path`)
	case len(seg) > l.Segment:
		return fmt.Errorf("has a name of %d bytes in its path, more than %d", len(seg), l.Segment)
	case strings.HasSuffix(seg, ".") || strings.HasSuffix(seg, " "):
		return fmt.Errorf("has a name that ends with a dot or a space, which Windows drops")
	case strings.ContainsAny(seg, `<>:"|?*`):
		return fmt.Errorf("has one of <>:\"|?* in its path, which Windows does not take (a colon names a drive or a stream)")
	case reserved(seg):
		return fmt.Errorf("has the name %q in its path, which is a device on Windows", seg)
	}
	return nil
}

// reserved reports whether Windows takes the name for a device: with any
// extension, in any case, spaces before the dot ignored.
// https://learn.microsoft.com/windows/win32/fileio/naming-a-file
func reserved(seg string) bool {
	base, _, _ := strings.Cut(seg, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, dev := range []string{"COM", "LPT"} {
		if n, ok := strings.CutPrefix(base, dev); ok {
			switch n {
			case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
				return true
			}
		}
	}
	return false
}

// fold maps names that a case-insensitive file system takes for one to one
// string: the smallest rune of each rune's folding orbit.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			if r != 'k' && r != 's' { // their orbits hold K (kelvin) and ſ
				return r
			}
		}
		low := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			low = min(low, next)
		}
		return low
	}, s)
}
