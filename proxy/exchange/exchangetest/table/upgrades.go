package table

// upgrades that must not become tunnels.
var upgrades = []Case{
	{Name: "P20 upgrade to anything else stays HTTP", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n" + Get}, Answer: []string{Hello}, Origin: []string{Get}, Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", NoH2: noUpgrade},
	{Name: "P20 upgrade in HTTP/1.0 stays HTTP", Send: []string{"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, Answer: []string{Hello}, Origin: []string{Get},
		Client: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", NoH2: oldVersion},
	{Name: "refused upgrade stays HTTP", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + Get}, Answer: []string{Hello, Hello},
		Origin: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Get}, Client: Hello + Hello, NoH2: noUpgrade},
	{Name: "P21 101 that nobody asked for", Send: []string{Get}, Answer: []string{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, Origin: []string{Get}, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>"},
	{Name: "P21 101 to another protocol", Send: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, Answer: []string{"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\n"},
		Origin: []string{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"}, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>", NoH2: noUpgrade},
}
