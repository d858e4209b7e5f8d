package proxy

// AcceptKey is for servers that tests run.
var AcceptKey = acceptKey

// CheckProfile reports whether a profile compiles.
func CheckProfile(text string) error {
	_, err := parseProfile(text)
	return err
}

// ProfileCount is how many products are known.
func ProfileCount() int { return len(profiles) }
