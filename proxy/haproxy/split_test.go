package haproxy_test

import (
	"errors"
	"strconv"
)

func itoa(i int) string { return strconv.Itoa(i) }

// split cuts a line into arguments as HAProxy's parser does: blanks separate,
// "#" begins a comment, single quotes keep all, double quotes keep all but "\"
// escapes and "$" variables, which this file never has.
func split(line string) (args []string, err error) {
	var word []byte
	in, double, single := false, false, false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\n' || c == '\r' || c == 0:
			return nil, errors.New("control byte in a line")
		case single && c == '\'':
			single = false
		case single:
			word = append(word, c)
		case c == '\\':
			if i++; i >= len(line) {
				return nil, errors.New("a backslash at the end")
			}
			if line[i] == 'x' {
				if i+2 >= len(line) {
					return nil, errors.New("a broken \\x")
				}
				b, err := strconv.ParseUint(line[i+1:i+3], 16, 8)
				if err != nil || b == 0 {
					return nil, errors.New("a broken \\x")
				}
				word, in, i = append(word, byte(b)), true, i+2
				continue
			}
			word, in = append(word, line[i]), true
		case c == '"':
			double, in = !double, true
		case c == '$' && double:
			return nil, errors.New("an environment variable")
		case double:
			word = append(word, c)
		case c == '\'':
			single, in = true, true
		case c == '#':
			i = len(line)
		case c == ' ' || c == '\t':
			if in {
				args, word, in = append(args, string(word)), nil, false
			}
		default:
			word, in = append(word, c), true
		}
	}
	if single || double {
		return nil, errors.New("a quote that is not closed")
	}
	if in {
		args = append(args, string(word))
	}
	return args, nil
}
