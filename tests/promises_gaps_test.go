package tests

// notHeld are the paragraphs that no test holds, by their beginning, and why.
var notHeld = map[string]string{
	"What is not seen:":                           "says what is not done",
	"Processor time for each choice":              "measured by the benchmark below it",
	"A pinned visitor is chosen for in less than": "measured by the benchmark above it",
	"What brought it down:":                       "measured while it was made",
	"`activate.ps1` points":                       "IIS is not tried: it needs Windows",
	"2. **Installed by hook.**":                   "WEBDEV is not tried, hook sites are",
}
