package table

import "strings"

// refusedLate are refused for what follows a sound head, or for a head that never ends.
var refusedLate = []Case{
	{Name: "P24 empty lines without end", Send: []string{"\r\n\r\n\r\n"}, Client: Refused("400 Bad Request"), NoH2: onlySyntax, Stricter: "RFC 9112, 2.2 asks for patience with one"},
	{Name: "P18 hop-by-hop of the answer", Send: []string{Get}, Answer: []string{"HTTP/1.1 200 OK\r\nConnection: X-A\r\nX-A: b\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\nX-B:c\r\nContent-Length: 5\r\n\r\nhello"},
		Origin: []string{Get}, Client: "HTTP/1.1 200 OK\r\nX-B: c\r\nContent-Length: 5\r\n\r\nhello"},
	{Name: "P1 smuggled", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG" + Get}, Client: Refused("400 Bad Request"), NoH2: onlySyntax, Stricter: oneFraming},
	{Name: "P8 bad chunk", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"}, Client: Refused("400 Bad Request"), NoH2: onlySyntax},
	{Name: "P8 bad trailer", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n"}, Client: Refused("400 Bad Request"), Stricter: "framing fields in a trailer section mean nothing good (RFC 9110, 6.5.1)"},
	{Name: "P23 line without end", Send: []string{"GET /" + strings.Repeat("a", 9<<10)}, Client: Refused("414 URI Too Long"), NoH2: onlySyntax},
	{Name: "early answer", Send: []string{"POST / HTTP/1.1\r\nHost: early\r\nContent-Length: 100000\r\n\r\nhello"}, Client: Refused("413 Content Too Large")},
}
