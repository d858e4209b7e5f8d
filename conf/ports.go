package conf

import (
	"fmt"
	"strconv"
	"strings"
)

// ParsePorts reads a range of ports, "20000-29999".
func ParsePorts(text string) (first, last int, err error) {
	low, high, _ := strings.Cut(text, "-")
	first, err1 := strconv.Atoi(low)
	last, err2 := strconv.Atoi(high)
	if err1 != nil || err2 != nil || first < 1024 || last > 65535 || last < first {
		return 0, 0, fmt.Errorf("%q is not a range of ports: write the first and the last, from 1024 to 65535, such as 20000-29999", clip(text))
	}
	return first, last, nil
}
