package http1

import "bytes"

// CleanPath appends to dst the path that routing compares with mount paths: dot segments are removed (RFC 3986, 5.2.4), also
// percent-encoded ones, and runs of slashes count as one. Encoded slashes and backslashes stay as they are. What is forwarded is the
// path as received. Without anything to clean, dst is returned unchanged and the path can be used as it stands.
func CleanPath(dst, path []byte) ([]byte, bool) {
	if !needsCleaning(path) {
		return dst, false
	}
	start := len(dst)
	for len(path) > 0 {
		path = path[1:] // the slash
		i := bytes.IndexByte(path, '/')
		if i < 0 {
			i = len(path)
		}
		segment := path[:i]
		path = path[i:]
		last := len(path) == 0
		switch dots(segment) {
		case 1:
			if last {
				dst = append(dst, '/')
			}
		case 2:
			if j := bytes.LastIndexByte(dst[start:], '/'); j >= 0 {
				dst = dst[:start+j]
			}
			if last {
				dst = append(dst, '/')
			}
		default:
			if len(segment) > 0 || last {
				dst = append(dst, '/')
				dst = append(dst, segment...)
			}
		}
	}
	if len(dst) == start {
		dst = append(dst, '/')
	}
	return dst, true
}

func needsCleaning(path []byte) bool {
	for i := 0; i+1 < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		switch path[i+1] {
		case '/', '.':
			return true
		case '%':
			if i+3 < len(path) && path[i+2] == '2' && path[i+3]|0x20 == 'e' {
				return true
			}
		}
	}
	return false
}

// dots returns 1 or 2 for a segment that is one or two dots, written plainly or percent-encoded, else 0.
func dots(s []byte) int {
	n := 0
	for len(s) > 0 {
		switch {
		case s[0] == '.':
			s = s[1:]
		case len(s) >= 3 && s[0] == '%' && s[1] == '2' && s[2]|0x20 == 'e':
			s = s[3:]
		default:
			return 0
		}
		if n++; n > 2 {
			return 0
		}
	}
	return n
}
