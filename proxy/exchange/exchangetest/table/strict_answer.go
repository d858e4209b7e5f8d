package table

import (
	"strings"

	"portico/proxy/http1"
)

// badAnswer is a row for an answer that must be refused. stricter says why, where the standard library takes it.
func badAnswer(name, raw string, fault http1.Fault, stricter string) Case {
	return Case{
		Name: name, Send: []string{Get}, Answer: []string{raw}, Origin: []string{Get}, Fault: fault, Client: "HTTP/1.1 502 Bad Gateway\r\n<*>", Stricter: stricter,
	}
}

// strictAnswers are as dangerous to the next visitor as a client's tricks.
var strictAnswers = []Case{
	badAnswer("answer: both lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", http1.FaultTwoLengths, oneFraming),
	badAnswer("answer: two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", http1.FaultTwoLengths, oneFraming),
	badAnswer("answer: coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", http1.FaultCoding, ""),
	badAnswer("answer: coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", http1.FaultCoding, "a transfer coding in HTTP/1.0 is faulty framing (RFC 9112, 6.1)"),
	badAnswer("answer: negative", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", http1.FaultLength, ""),
	badAnswer("answer: fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", http1.FaultFold, folding),
	badAnswer("answer: bare LF", "HTTP/1.1 200 OK\nA: b\n\n", http1.FaultBareLF, onlyCRLF),
	badAnswer("answer: bare CR", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", http1.FaultBareCR, ""),
	badAnswer("answer: bare CR in reason", "HTTP/1.1 200 O\rK\r\nA: b\r\n\r\n", http1.FaultLine, "a client might take it for the end of the line"),
	badAnswer("answer: status", "HTTP/1.1 099 x\r\n\r\n", http1.FaultStatus, "there are no codes below 100 (RFC 9110, 15)"),
	badAnswer("answer: status 600", "HTTP/1.1 600 x\r\n\r\n", http1.FaultStatus, "there are no codes above 599 (RFC 9110, 15)"),
	badAnswer("answer: short status", "HTTP/1.1 20 OK\r\n\r\n", http1.FaultLine, ""),
	badAnswer("answer: version", "HTTP/2.0 200 OK\r\n\r\n", http1.FaultLine, otherVersion),
	badAnswer("answer: not HTTP", "SSH-2.0-OpenSSH_9\r\n\r\n", http1.FaultLine, ""),
	badAnswer("answer: name", "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", http1.FaultName, "RFC 9112, 5.1: a client might split the name elsewhere"),
	badAnswer("answer: NUL", "HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n", http1.FaultValue, ""),
	badAnswer("answer: fields", "HTTP/1.1 200 OK\r\n"+strings.Repeat("A: b\r\n", 201)+"\r\n", http1.FaultFields, aLimit),
}
