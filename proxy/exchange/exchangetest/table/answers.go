package table

import "strings"

// answers of every kind, sound and broken off.
var answers = []Case{
	{Name: "origin closes", Send: []string{Get + Get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello<close>", Hello}, Origin: []string{Get, Get}, Client: Hello + Hello},
	{Name: "chunked answer", Send: []string{Get + Get}, Answer: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\n", Hello}, Origin: []string{Get, Get},
		Client: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n" + Hello},
	{Name: "chunked answer to HTTP/1.0", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"}, Answer: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		Origin: []string{Get}, Client: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", NoH2: oldVersion},
	{Name: "answer until close", Send: []string{Get + Get}, Answer: []string{"HTTP/1.1 200 OK\r\n\r\nhello<close>", Hello}, Origin: []string{Get, Get},
		Client: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + Hello},
	{Name: "answer until close to HTTP/1.0", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, Answer: []string{"HTTP/1.0 200 OK\r\n\r\nhello<close>"}, Origin: []string{Get}, Client: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", NoH2: oldVersion},
	{Name: "HEAD", Send: []string{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + Get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", Hello},
		Origin: []string{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", Get}, Client: "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + Hello},
	{Name: "204", Send: []string{Get + Get}, Answer: []string{"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Hello}, Origin: []string{Get, Get}, Client: "HTTP/1.1 204 No Content\r\n\r\n" + Hello},
	{Name: "304", Send: []string{Get + Get}, Answer: []string{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n", Hello}, Origin: []string{Get, Get},
		Client: "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n\r\n" + Hello},
	{Name: "103 before the answer", Send: []string{Get}, Answer: []string{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + Hello}, Origin: []string{Get}, Client: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + Hello},
	{Name: "103 is not for HTTP/1.0", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, Answer: []string{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + Hello}, Origin: []string{Get},
		Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", NoH2: oldVersion},
	{Name: "100 that nobody asked for", Send: []string{Get}, Answer: []string{"HTTP/1.1 100 Continue\r\n\r\n" + Hello}, Origin: []string{Get}, Client: Hello},
	{Name: "endless 1xx", Send: []string{Get}, Answer: []string{strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 17) + Hello}, Origin: []string{Get}, Client: "<*>HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{Name: "R1 short answer", Send: []string{Get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello<close>"}, Origin: []string{Get}, Client: "<*>"},
	{Name: "R1 cut chunks", Send: []string{Get}, Answer: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n<close>"}, Origin: []string{Get}, Client: "<*>"},
	{Name: "R1 bad chunks", Send: []string{Get}, Answer: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZ\r\n"}, Origin: []string{Get}, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{Name: "padded chunk sizes", Laxer: "RFC 9112, 7.1.1 allows it before an extension, and other proxies before the end of the line", Send: []string{Get + Get}, Answer: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3 ;x=y\r\nhel\r\n2\t \r\nlo\r\n0   \r\n\r\n", Hello}, Origin: []string{Get, Get},
		Client: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n" + Hello},
	{Name: "R1 reset until close", Send: []string{Get}, Answer: []string{"HTTP/1.1 200 OK\r\n\r\nhello<reset>"}, Origin: []string{Get}, Client: "<*>"},
	{Name: "R2 bytes behind an answer", Send: []string{Get, Get}, Answer: []string{Hello + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", Hello}, Origin: []string{Get, Get}, Client: Hello + Hello},
	{Name: "malformed answer", Send: []string{Get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"}, Origin: []string{Get}, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{Name: "no answer to POST", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"}, Answer: []string{"<close>"}, Origin: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"}, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>"},
}
