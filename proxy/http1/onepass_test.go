package http1

import (
	"bytes"
	"testing"
)

// FuzzOnePass: a head that is accepted in one pass is the one that ScanHead delimits, and is accepted there, too.
func FuzzOnePass(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\nHost: a\r\n\r\n", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", "HTTP/1.1 200\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nuser-agent: y\r\nREFERER: z\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	lim := Limits{}.WithDefaults()
	f.Fuzz(func(t *testing.T, b []byte) {
		var one, two Request
		if n, fault := TryRequest(&one, b, &lim); fault == NoFault {
			end, _, scan := ScanHead(b, 0)
			if scan != NoFault || end != n {
				t.Fatalf("one pass: %d, ScanHead: %d %v", n, end, scan)
			}
			if fault := ParseRequest(&two, b[:end], &lim); fault != NoFault {
				t.Fatalf("second pass: %v", fault)
			}
			if !bytes.Equal(one.raw, b[:n]) || len(one.Fields) != len(two.Fields) || one.Length != two.Length || one.Chunked != two.Chunked {
				t.Fatalf("%+v and %+v", one, two)
			}
		}
		var a, c Response
		if n, fault := TryResponse(&a, b, &lim); fault == NoFault {
			end, _, scan := ScanHead(b, 0)
			if scan != NoFault || end != n || ParseResponse(&c, b[:end], &lim) != NoFault {
				t.Fatalf("response: one pass: %d, ScanHead: %d %v", n, end, scan)
			}
		}
	})
}

// TestKnownNames: what the table says about a name is what its letters say.
func TestKnownNames(t *testing.T) {
	held := 0
	for _, k := range knownNames {
		if k.name == "" {
			continue
		}
		held++
		for _, name := range [][]byte{[]byte(k.name), bytes.ToUpper([]byte(k.name))} {
			n, kind, common := fieldName(append(name, ": x\r\n"...))
			if n != len(name) || kind != kindOf(name) || common != commonOf(name) {
				t.Errorf("%s: %d %v %v", name, n, kind, common)
			}
		}
	}
	if held != 47 {
		t.Errorf("%d names have a place of their own", held)
	}
}

// TestFirst: the first field of a name counts, in any spelling.
func TestFirst(t *testing.T) {
	lim := Limits{}.WithDefaults()
	var r Request
	if fault := ParseRequest(&r, []byte("GET / HTTP/1.1\r\nHost: a\r\nuSER-agent: x\r\nUser-Agent: y\r\nREFERER: z\r\n\r\n"), &lim); fault != NoFault {
		t.Fatal(fault)
	}
	if string(r.First(UserAgent)) != "x" || string(r.First(Referer)) != "z" || r.First(ContentType) != nil {
		t.Errorf("%q %q %q", r.First(UserAgent), r.First(Referer), r.First(ContentType))
	}
}
