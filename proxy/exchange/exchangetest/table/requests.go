package table

import "strings"

// plainRequests go through, normalised.
var plainRequests = []Case{
	{Name: "small", Send: []string{Get}, Answer: []string{Hello}, Origin: []string{Get}, Client: Hello},
	{Name: "byte by byte", Send: strings.Split("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""), Answer: []string{Hello}, Origin: []string{Get}, Client: Hello, NoH2: onlySyntax},
	{Name: "pipelined, in order", Send: []string{Get + "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n" + "HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n"},
		Answer: []string{Hello, "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"},
		Origin: []string{Get, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n"},
		Client: Hello + "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno" + "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"},
	{Name: "empty line before the request", Send: []string{"\r\n" + Get}, Answer: []string{Hello}, Origin: []string{Get}, Client: Hello, NoH2: onlySyntax},
	{Name: "HTTP/1.0", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, Answer: []string{Hello}, Origin: []string{Get}, Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", NoH2: oldVersion},
	{Name: "HTTP/1.0 kept alive", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" + "GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, Answer: []string{Hello, Hello}, Origin: []string{Get, Get},
		Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", NoH2: oldVersion},
	{Name: "client closes", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + Get}, Answer: []string{Hello}, Origin: []string{Get},
		Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", NoH2: noUpgrade},
	{Name: "body with a length", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "he", "llo", Get}, Answer: []string{Hello, Hello},
		Origin: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Get}, Client: Hello + Hello},
	{Name: "body of length 0", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + Get}, Answer: []string{Hello, Hello},
		Origin: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", Get}, Client: Hello + Hello},
	{Name: "chunk sizes with white space", Laxer: "RFC 9112, 7.1.1 allows it before an extension, and other proxies before the end of the line", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3 ;x=\"y z\"\r\nhel\r\n2", "\t \r\nlo\r\n0  \r\nA: b c\r\n\r\n" + Get},
		Answer: []string{Hello, Hello}, Origin: []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b c\r\n\r\n", Get}, Client: Hello + Hello},
	{Name: "chunked body, normalised", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:  Chunked\r\n\r\n005;x=y\r\nhel", "lo\r\n1\r\n!\r\n0\r\nA:b\r\nX_Y: z\r\nSet-Cookie: x\r\n\r\n" + Get},
		Answer: []string{Hello, Hello}, Origin: []string{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n0\r\nA: b\r\n\r\n", Get}, Client: Hello + Hello},
	{Name: "cookie removed, cookie set", Send: []string{"GET / HTTP/1.1\r\nHost: shop\r\nCookie: portico-shop=y; new=1\r\n\r\n"}, Answer: []string{Hello},
		Origin: []string{"GET / HTTP/1.1\r\nHost: shop\r\nCookie: new=1\r\n\r\n"}, Client: "HTTP/1.1 200 OK\r\nSet-Cookie: portico-shop=<*>; Path=/; HttpOnly<*>\r\nContent-Length: 5\r\n\r\nhello"},
	{Name: "absolute target", Send: []string{"GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n"}, Answer: []string{Hello}, Origin: []string{"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n"}, Client: Hello, NoH2: onlySyntax},
	{Name: "OPTIONS *", Send: []string{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"}, Answer: []string{Hello}, Origin: []string{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"}, Client: Hello},
}
