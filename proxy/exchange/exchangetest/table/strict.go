package table

import (
	"net/http"
	"strconv"
	"strings"

	"portico/proxy/http1"
)

const host = "Host: a\r\n"

// bad is a row for a request that must be refused. stricter says why, where the standard library takes it.
func bad(name, raw string, fault http1.Fault, stricter string) Case {
	status := fault.Status()
	text := http.StatusText(status)
	if status == http.StatusRequestURITooLong {
		text = "URI Too Long" // as RFC 9110 has it
	}
	return Case{
		Name: name, Send: []string{raw}, Fault: fault, Client: Refused(strconv.Itoa(status) + " " + text), Stricter: stricter, NoH2: onlySyntax,
	}
}

// badHere is bad for a request that can be said in HTTP/2, too.
func badHere(name, raw string, fault http1.Fault, stricter string, h2 *Deviation) Case {
	c := bad(name, raw, fault, stricter)
	c.NoH2, c.H2 = "", h2
	return c
}

var resets = &Deviation{Why: "what HTTP/2 itself calls malformed resets the stream (RFC 9113, 8.1.1)", Client: "<reset>"}

// strictRequests have no reading, or more than one: lines P1 to P23 of the requirements.
var strictRequests = []Case{
	bad("P1 both lengths", "POST / HTTP/1.1\r\n"+host+"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", http1.FaultTwoLengths, oneFraming),
	bad("P1 both, other order", "POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", http1.FaultTwoLengths, oneFraming),
	badHere("P2 unlike lengths", "POST / HTTP/1.1\r\n"+host+"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", http1.FaultTwoLengths, "", nil),
	badHere("P2 like lengths", "POST / HTTP/1.1\r\n"+host+"Content-Length: 3\r\nContent-Length: 3\r\n\r\n", http1.FaultTwoLengths, oneFraming, nil),
	badHere("P3 sign", "POST / HTTP/1.1\r\n"+host+"Content-Length: +5\r\n\r\n", http1.FaultLength, "", nil),
	badHere("P3 two numbers", "POST / HTTP/1.1\r\n"+host+"Content-Length: 5 5\r\n\r\n", http1.FaultLength, "", nil),
	badHere("P3 list", "POST / HTTP/1.1\r\n"+host+"Content-Length: 5, 5\r\n\r\n", http1.FaultLength, "", nil),
	badHere("P3 empty, CVE-2023-40225", "POST / HTTP/1.1\r\n"+host+"Content-Length:\r\n\r\n", http1.FaultLength, "", nil),
	badHere("P3 overflow", "POST / HTTP/1.1\r\n"+host+"Content-Length: 18446744073709551616\r\n\r\n", http1.FaultLength, "", nil),
	bad("P3 NUL", "POST / HTTP/1.1\r\n"+host+"Content-Length: 5\x00\r\n\r\n", http1.FaultValue, ""),
	badHere("P3 hex", "POST / HTTP/1.1\r\n"+host+"Content-Length: 0x5\r\n\r\n", http1.FaultLength, "", nil),
	bad("P4 gzip, chunked", "POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: gzip, chunked\r\n\r\n", http1.FaultCoding, ""),
	bad("P4 chunked twice", "POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", http1.FaultCoding, ""),
	bad("P4 xchunked", "POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: xchunked\r\n\r\n", http1.FaultCoding, ""),
	bad("P4 identity", "POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: identity\r\n\r\n", http1.FaultCoding, ""),
	bad("P4 empty", "POST / HTTP/1.1\r\n"+host+"Transfer-Encoding:\r\n\r\n", http1.FaultCoding, ""),
	bad("P4 vertical tab", "POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: \x0bchunked\r\n\r\n", http1.FaultValue, ""),
	bad("P5 space before colon", "GET / HTTP/1.1\r\n"+host+"A : b\r\n\r\n", http1.FaultName, "RFC 9112, 5.1 asks for 400; ReadRequest leaves it to the server"),
	bad("P5 tab before colon", "GET / HTTP/1.1\r\n"+host+"A\t: b\r\n\r\n", http1.FaultName, ""),
	bad("P6 fold", "GET / HTTP/1.1\r\n"+host+"A: b\r\n c\r\n\r\n", http1.FaultFold, folding),
	bad("P6 fold with tab", "GET / HTTP/1.1\r\n"+host+"A: b\r\n\tContent-Length: 3\r\n\r\n", http1.FaultFold, folding),
	bad("P6 first line folded", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", http1.FaultFold, ""),
	bad("P7 bare CR in value", "GET / HTTP/1.1\r\n"+host+"A: b\rc\r\n\r\n", http1.FaultBareCR, ""),
	bad("P7 CR CR LF", "GET / HTTP/1.1\r\n"+host+"A: b\r\r\n\r\n", http1.FaultBareCR, ""),
	bad("P7 bare CR in name", "GET / HTTP/1.1\r\n"+host+"A\rb: c\r\n\r\n", http1.FaultName, ""),
	bad("P7 bare LF", "GET / HTTP/1.1\nHost: a\n\n", http1.FaultBareLF, onlyCRLF),
	bad("P7 bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", http1.FaultBareLF, onlyCRLF),
	bad("P10 HTTP/1.0 with coding", "POST / HTTP/1.0\r\n"+host+"Transfer-Encoding: chunked\r\n\r\n", http1.FaultCoding, "a transfer coding in HTTP/1.0 is faulty framing (RFC 9112, 6.1)"),
	badHere("P11 space", "GET /a b HTTP/1.1\r\n"+host+"\r\n", http1.FaultLine, "", nil),
	bad("P11 two spaces", "GET  / HTTP/1.1\r\n"+host+"\r\n", http1.FaultLine, ""),
	bad("P11 tab", "GET\t/ HTTP/1.1\r\n"+host+"\r\n", http1.FaultMethod, ""),
	badHere("P11 control", "GET /\x01 HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, "", nil),
	badHere("P11 NUL", "GET /\x00 HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, "", resets),
	badHere("P11 DEL", "GET /\x7f HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, "", nil),
	badHere("P11 fragment, CVE-2023-45539", "GET /a#b HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, noFragment, nil),
	badHere("P11 fragment in query", "GET /a?b#c HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, noFragment, nil),
	badHere("P11 UTF-8", "GET /\xc3\xa4 HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, "a target is ASCII (RFC 9112, 3.2); origins decode raw bytes each in their own way", nil),
	badHere("P11 backslash", "GET /a\\..\\b HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, "some origins take a backslash for a slash", nil),
	badHere("no slash", "GET a HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, "", resets),
	bad("P12 another authority", "GET http://b/ HTTP/1.1\r\n"+host+"\r\n", http1.FaultTwoHosts, "the two could lead to two sites"),
	bad("P12 user information", "GET http://u@a/ HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, "RFC 9110, 4.2.4 calls it likely an attempt to deceive"),
	bad("P12 another scheme", "GET ftp://a/ HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, "a reverse proxy forwards to no other scheme"),
	bad("P12 empty authority", "GET http:///x HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, "RFC 9110, 4.2.1 refuses an empty host"),
	badHere("P13 CONNECT", "CONNECT a:443 HTTP/1.1\r\n"+host+"\r\n", http1.FaultNotAllowed, notServed, nil),
	badHere("P13 TRACE", "TRACE / HTTP/1.1\r\n"+host+"\r\n", http1.FaultNotAllowed, notServed, nil),
	badHere("P13 asterisk", "GET * HTTP/1.1\r\n"+host+"\r\n", http1.FaultTarget, "only OPTIONS takes it (RFC 9112, 3.2.4)", resets),
	badHere("P14 no Host", "GET / HTTP/1.1\r\n\r\n", http1.FaultNoHost, "RFC 9112, 3.2 asks for 400; ReadRequest leaves it to the server", nil),
	bad("P14 two Hosts", "GET / HTTP/1.1\r\n"+host+host+"\r\n", http1.FaultTwoHosts, ""),
	badHere("P15 slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", http1.FaultHost, strictHost, nil),
	badHere("P15 at", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", http1.FaultHost, strictHost, nil),
	badHere("P15 space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", http1.FaultHost, strictHost, nil),
	badHere("P15 two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", http1.FaultHost, strictHost, nil),
	badHere("P15 big port", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", http1.FaultHost, strictHost, nil),
	badHere("P15 comma", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", http1.FaultHost, strictHost, nil),
	badHere("P15 percent", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", http1.FaultHost, strictHost, nil),
	badHere("P15 empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", http1.FaultHost, strictHost, nil),
	badHere("P15 behind bracket", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", http1.FaultHost, strictHost, nil),
	badHere("empty name, CVE-2023-25725", "GET / HTTP/1.1\r\n"+host+": x\r\n\r\n", http1.FaultName, "", resets),
	bad("no colon", "GET / HTTP/1.1\r\n"+host+"abc\r\n\r\n", http1.FaultName, ""),
	bad("version 2", "GET / HTTP/2.0\r\n"+host+"\r\n", http1.FaultVersion, otherVersion),
	bad("version 1.2", "GET / HTTP/1.2\r\n"+host+"\r\n", http1.FaultVersion, otherVersion),
	bad("version in lower case", "GET / http/1.1\r\n"+host+"\r\n", http1.FaultLine, ""),
	bad("HTTP/0.9", "GET /\r\n\r\n", http1.FaultLine, ""),
	bad("preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\n", http1.FaultVersion, otherVersion),
	badHere("expectation", "POST / HTTP/1.1\r\n"+host+"Expect: 200-ok\r\n\r\n", http1.FaultExpect, "417 is what RFC 9110, 10.1.1 has for expectations that nobody can meet", nil),
	bad("Connection", "GET / HTTP/1.1\r\n"+host+"Connection: a b\r\n\r\n", http1.FaultConnection, "what is no list of tokens would be removed from no head"),
	bad("P23 fields", "GET / HTTP/1.1\r\n"+host+strings.Repeat("A: b\r\n", 100)+"\r\n", http1.FaultFields, aLimit),
	badHere("P23 line", "GET /"+strings.Repeat("a", 8192)+" HTTP/1.1\r\n"+host+"\r\n", http1.FaultLineLong, aLimit, nil),
}
