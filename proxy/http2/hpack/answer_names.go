package hpack

// answerName is a name of an answer's fields that the encoder knows.
type answerName struct {
	name     string
	static   int  // its index in the static table, 0: none
	secret   bool // never in a table
	fleeting bool // another value each time, or nearly
}

// answerNames is spread by nameSlot.
var answerNames = func() (t [256][]answerName) {
	known := map[string]answerName{}
	for i := range staticTable {
		name := staticTable[i].name
		if _, ok := known[name]; !ok {
			known[name] = answerName{name: name, static: i + 1}
		}
	}
	for _, name := range []string{"set-cookie", "cookie", "authorization", "proxy-authorization", "authentication-info", "x-csrf-token", "x-xsrf-token", "x-auth-token"} {
		n := known[name]
		n.name, n.secret = name, true
		known[name] = n
	}
	for _, name := range []string{"date", "age", "expires", "content-range", "x-request-id", "x-runtime"} {
		n := known[name]
		n.name, n.fleeting = name, true
		known[name] = n
	}
	for _, n := range known {
		at := nameSlot([]byte(n.name))
		t[at] = append(t[at], n)
	}
	return t
}()

func nameSlot(name []byte) uint8 {
	n := len(name)
	return uint8(n)*31 + (name[0]|0x20)*7 + (name[n-1]|0x20)*3 + (name[n/2] | 0x20)
}

// staticName tells what the encoder knows of a name.
func staticName(name []byte) (index int, secret, fleeting bool) {
	if len(name) == 0 {
		return 0, false, false
	}
	for i := range answerNames[nameSlot(name)] {
		if n := &answerNames[nameSlot(name)][i]; equalFold(name, n.name) {
			return n.static, n.secret, n.fleeting
		}
	}
	return 0, false, false
}
