package exchange_test

import (
	"fmt"
	"strings"
	"testing"

	"portico/proxy/exchange"
)

// TestUploadsInLargePieces: a large body is read 32 KiB at a time, not in pieces of the buffer that its head came in.
func TestUploadsInLargePieces(t *testing.T) {
	const size = 1 << 20
	for name, field := range map[string]string{"with a length": fmt.Sprintf("content-length: %d\r\n", size), "without": ""} {
		t.Run(name, func(t *testing.T) {
			s := streamRun{step: size, streamTest: &streamTest{
				head: "POST /x HTTP/1.1\r\nHost: a\r\n" + field + "\r\n", open: true, body: strings.Repeat("x", size),
				answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
			}}
			if op := s.run(t, deciding(nil)); op != exchange.OpClose {
				t.Errorf("it ended with %d", op)
			}
			if most := size/(32<<10) + 4; s.reads > most {
				t.Errorf("%d reads for a body of %d bytes, want at most %d", s.reads, size, most)
			}
		})
	}
}
