package sites

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseRate reads a number of requests and the time they may take: "100/s",
// "600/m" or "5000/h".
func ParseRate(text string) (requests int, per time.Duration, err error) {
	n, unit, ok := strings.Cut(text, "/")
	requests, err = strconv.Atoi(n)
	per = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if !ok || err != nil || requests <= 0 || requests > 1_000_000_000 || per == 0 || n[0] == '+' {
		return 0, 0, fmt.Errorf("%w: rate %.40q; write requests per second, minute or hour, such as \"100/s\" or \"600/m\"", ErrInvalid, text)
	}
	return requests, per, nil
}
