package static

import (
	"strconv"
	"strings"
)

// codingSuffix maps content codings to the extension of files that hold them.
var codingSuffix = map[string]string{"br": ".br", "zstd": ".zst", "gzip": ".gz"}

// codingOrder is the preference among codings that a client likes equally.
var codingOrder = []string{"br", "zstd", "gzip"}

// codings returns the codings in which a file is there.
func (s *Site) codings(name string) []string {
	var list []string
	for _, c := range codingOrder {
		if _, ok := s.files[name+codingSuffix[c]]; ok {
			list = append(list, c)
		}
	}
	return list
}

// chooseCoding picks the coding that the client prefers, "" for none (RFC 9110
// section 12.5.3).
func chooseCoding(accept []string, have []string) string {
	weight := make(map[string]float64)
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, params, _ := strings.Cut(part, ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q="); ok {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil || n < 0 || n > 1 {
				n = 0
			}
			q = n
		}
		weight[strings.ToLower(strings.TrimSpace(name))] = q
	}
	if q, ok := weight["x-gzip"]; ok && weight["gzip"] == 0 {
		weight["gzip"] = q
	}
	best, bestQ := "", 0.0
	for _, c := range have {
		q, ok := weight[c]
		if !ok {
			q = weight["*"]
		}
		if q > bestQ {
			best, bestQ = c, q
		}
	}
	if identity, ok := weight["identity"]; ok && identity > bestQ {
		return ""
	}
	return best
}
