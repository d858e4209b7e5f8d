package sites

import (
	"fmt"
	"strconv"
	"strings"
)

// StatusRange is a set of HTTP status codes.
type StatusRange struct {
	set [10]uint64 // bit n of the whole: code n is in
}

// Has reports whether code is in the set.
func (r StatusRange) Has(code int) bool {
	return code >= 0 && code < 64*len(r.set) && r.set[code/64]>>(code%64)&1 == 1
}

// ParseStatus reads codes and ranges separated by commas: "200-399,401".
func ParseStatus(text string) (StatusRange, error) {
	var r StatusRange
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		a, err1 := strconv.ParseUint(low, 10, 16)
		b, err2 := a, error(nil)
		if isRange {
			b, err2 = strconv.ParseUint(high, 10, 16)
		}
		if err1 != nil || err2 != nil || a < 100 || b > 599 || a > b {
			return StatusRange{}, fmt.Errorf("%w: status %.80q; write codes between 100 and 599 and ranges of them, such as \"200-399,401\"", ErrInvalid, text)
		}
		for c := a; c <= b; c++ {
			r.set[c/64] |= 1 << (c % 64)
		}
	}
	return r, nil
}
