package table

import "strings"

// large are heads and bodies near the limits and far beyond a buffer.
var large = []Case{
	{Name: "P23 head", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 17<<10) + "\r\n\r\n"}, Client: Refused("431 Request Header Fields Too Large"), Stricter: aLimit},
	{Name: "a head of 15 KiB", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 15<<10) + "\r\n\r\n"}, Answer: []string{Hello},
		Origin: []string{"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 15<<10) + "\r\n\r\n"}, Client: Hello},
	{Name: "head of the answer too large", Send: []string{Get}, Answer: []string{"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 70<<10) + "\r\n\r\n"}, Origin: []string{Get}, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>", Stricter: aLimit},
	{Name: "head of the answer of 40 KiB", Send: []string{Get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: " + strings.Repeat("a", 40<<10) + "\r\n\r\n"}, Origin: []string{Get},
		Client: "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 40<<10) + "\r\nContent-Length: 0\r\n\r\n"},
	{Name: "body of 1 MiB", Send: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n", strings.Repeat("0123456789abcdef", 65536), Get}, Answer: []string{Hello, Hello},
		Origin: []string{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536), Get}, Client: Hello + Hello},
	{Name: "answer of 1 MiB", Send: []string{Get + Get}, Answer: []string{"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536), Hello}, Origin: []string{Get, Get},
		Client: "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536) + Hello},
	{Name: "chunked answer of 1 MiB to HTTP/1.0", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\n\r\n"}, Answer: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + strings.Repeat("0123456789abcdef", 65536) + "\r\n0\r\n\r\n"}, Origin: []string{Get},
		Client: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + strings.Repeat("0123456789abcdef", 65536), NoH2: oldVersion},
}
