// Package nearest finds the word that somebody meant who wrote another one.
package nearest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Word returns the candidate that a slip of the finger most likely turned
// into word, and whether one is close enough to be worth saying: at most a
// third of its letters differ, or one is the beginning of the other. The tables
// or words that both begin with do not count.
func Word(word string, candidates []string) (string, bool) {
	best, least, good := "", len(word)+1, false
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		a, b := apart(strings.ToLower(word), strings.ToLower(c))
		d := Distance(a, b)
		if d >= least {
			continue
		}
		beginning := min(len(a), len(b)) >= 3 && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
		if near := d <= max(1, len(b)/3) && d < len(b) || beginning; near || !good {
			best, least, good = c, d, near
		}
	}
	return best, good
}

// apart cuts off what a and b have in common up to a dot or underscore.
func apart(a, b string) (string, string) {
	cut := 0
	for i := 0; i < min(len(a), len(b)) && a[i] == b[i]; i++ {
		if a[i] == '.' || a[i] == '_' {
			cut = i + 1
		}
	}
	return a[cut:], b[cut:]
}

// Distance is the number of letters to insert, delete, replace or swap with
// their neighbour to turn a into b (optimal string alignment).
func Distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64 // no key is that long; the table below stays small
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// Remedy says of a value that is none of those that are allowed what to write instead; it is
// to be read behind the value.
func Remedy(value string, allowed []string) string {
	if near, ok := Word(value, allowed); ok {
		return fmt.Sprintf("is not known: did you mean %q? Allowed: %s", near, quoted(allowed))
	}
	return "is not known: write one of " + quoted(allowed)
}

func quoted(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = strconv.Quote(w)
	}
	return strings.Join(list, ", ")
}
