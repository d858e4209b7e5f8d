package priority

// Urgency is what a client says about the order of answers (RFC 9218, 4).
type Urgency struct {
	Level byte // 0, the most urgent, to 7
	Turns bool // answers of a level share the line; otherwise one comes after the other
}

// Usual holds where a client says nothing. One that knows of priorities would: the answers to all others take turns.
var Usual = Urgency{Level: 3, Turns: true}

// Parse reads the value of a Priority field, a dictionary of which only "u" and "i" matter. What cannot be read is as if it were
// not there (RFC 9218, 5).
func Parse(b []byte) Urgency {
	u := Urgency{Level: 3}
	for len(b) > 0 {
		var item []byte
		item, b = nextItem(b)
		switch {
		case len(item) == 3 && item[0] == 'u' && item[1] == '=' && '0' <= item[2] && item[2] <= '7':
			u.Level = item[2] - '0'
		case string(item) == "i" || string(item) == "i=?1":
			u.Turns = true
		case string(item) == "i=?0":
			u.Turns = false
		}
	}
	return u
}

// nextItem cuts a member off a dictionary, without the white space around it and its parameters.
func nextItem(b []byte) (item, rest []byte) {
	end := len(b)
	for i, c := range b {
		if c == ',' {
			end = i
			rest = b[i+1:]
			break
		}
	}
	item = b[:end]
	for i, c := range item {
		if c == ';' {
			item = item[:i]
			break
		}
	}
	for len(item) > 0 && (item[0] == ' ' || item[0] == '\t') {
		item = item[1:]
	}
	for len(item) > 0 && (item[len(item)-1] == ' ' || item[len(item)-1] == '\t') {
		item = item[:len(item)-1]
	}
	return item, rest
}
