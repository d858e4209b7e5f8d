package http2

import (
	"strconv"
	"strings"
	"testing"

	"portico/proxy/http1"
)

// TestRequests: what a request must be (RFC 9113, 8.2 and 8.3), and how it reads as HTTP/1.
func TestRequests(t *testing.T) {
	bare := [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "shop.test"}, {":path", "/"}}
	const head = "GET / HTTP/1.1\r\nhost: shop.test\r\n"
	many := func(n int, f [2]string) (all [][2]string) {
		for range n {
			all = append(all, f)
		}
		return all
	}
	for name, tt := range map[string]struct {
		fields [][2]string
		want   string // the text; "RST": malformed; "431" and the like: what http1 says to it
	}{
		"bare":                 {bare, head + "\r\n"},
		"any order":            {[][2]string{bare[3], bare[2], bare[0], bare[1]}, head + "\r\n"},
		"query":                {with(bare, [2]string{":path", "/a//b?c=%20d"}), "GET /a//b?c=%20d HTTP/1.1\r\nhost: shop.test\r\n\r\n"},
		"no method":            {bare[1:], "RST"},
		"no path":              {bare[:3], "RST"},
		"no scheme":            {append(bare[:1:1], bare[2:]...), "RST"},
		"no authority":         {append(bare[:2:2], bare[3]), "400"},
		"host alone":           {append(bare[:2:2], bare[3], [2]string{"host", "shop.test"}), head + "\r\n"},
		"host twice":           {append(bare[:2:2], bare[3], [2]string{"host", "shop.test"}, [2]string{"host", "shop.test"}), "400"},
		"host and authority":   {append(bare[:4:4], [2]string{"host", "Shop.test:443"}), head + "\r\n"},
		"host of another":      {append(bare[:4:4], [2]string{"host", "other.test"}), "RST"},
		"host twice beside":    {append(bare[:4:4], many(2, [2]string{"host", "shop.test"})...), "RST"},
		"user information":     {with(bare, [2]string{":authority", "joe@shop.test"}), "400"},
		"authority cut":        {with(bare, [2]string{":authority", "shop.test:"}), "400"},
		"authority empty":      {with(bare, [2]string{":authority", ""}), "400"},
		"path empty":           {with(bare, [2]string{":path", ""}), "RST"},
		"path absolute":        {with(bare, [2]string{":path", "http://other.test/"}), "RST"},
		"path without slash":   {with(bare, [2]string{":path", "a"}), "RST"},
		"path with space":      {with(bare, [2]string{":path", "/a b"}), "400"},
		"path with version":    {with(bare, [2]string{":path", "/ HTTP/1.1"}), "400"},
		"path with line":       {with(bare, [2]string{":path", "/ HTTP/1.1\r\nx: y"}), "RST"},
		"path with fragment":   {with(bare, [2]string{":path", "/a#b"}), "400"},
		"path long":            {with(bare, [2]string{":path", "/" + strings.Repeat("a", 9000)}), "414"},
		"path very long":       {with(bare, [2]string{":path", "/" + strings.Repeat("a", 30000)}), "431"},
		"star":                 {with(bare, [2]string{":path", "*"}), "RST"},
		"options star":         {with(bare, [2]string{":path", "*"}, [2]string{":method", "OPTIONS"}), "OPTIONS * HTTP/1.1\r\nhost: shop.test\r\n\r\n"},
		"method empty":         {with(bare, [2]string{":method", ""}), "RST"},
		"method with space":    {with(bare, [2]string{":method", "GET /x"}), "RST"},
		"trace":                {with(bare, [2]string{":method", "TRACE"}), "405"},
		"scheme unknown":       {with(bare, [2]string{":scheme", "ftp"}), "RST"},
		"pseudo twice":         {append(bare[:4:4], bare[3]), "RST"},
		"pseudo unknown":       {append(bare[:4:4], [2]string{":x", "y"}), "RST"},
		"pseudo of an answer":  {append(bare[:4:4], [2]string{":status", "200"}), "RST"},
		"pseudo late":          {append(bare[:3:3], [2]string{"x", "y"}, bare[3]), "RST"},
		"protocol alone":       {append(bare[:4:4], [2]string{":protocol", "websocket"}), "RST"},
		"connect":              {[][2]string{{":method", "CONNECT"}, bare[2]}, "405"},
		"connect with path":    {with(bare, [2]string{":method", "CONNECT"}), "RST"},
		"connect to nobody":    {[][2]string{{":method", "CONNECT"}}, "RST"},
		"capitals":             {append(bare[:4:4], [2]string{"X-Upper", "y"}), "RST"},
		"name empty":           {append(bare[:4:4], [2]string{"", "y"}), "RST"},
		"name with space":      {append(bare[:4:4], [2]string{"x y", "z"}), "RST"},
		"name with colon":      {append(bare[:4:4], [2]string{"x:y", "z"}), "RST"},
		"value with line":      {append(bare[:4:4], [2]string{"x", "y\r\nz: a"}), "RST"},
		"value with NUL":       {append(bare[:4:4], [2]string{"x", "0123456789\x00"}), "RST"},
		"value with control":   {append(bare[:4:4], [2]string{"x", "0123456789\x01"}), "400"},
		"value with space":     {append(bare[:4:4], [2]string{"x", "y "}), "RST"},
		"value after tab":      {append(bare[:4:4], [2]string{"x", "\ty"}), "RST"},
		"value empty":          {append(bare[:4:4], [2]string{"x", ""}), head + "x: \r\n\r\n"},
		"value in Latin-1":     {append(bare[:4:4], [2]string{"x", "caf\xe9 \x80\x9f\xff"}), head + "x: caf\xe9 \x80\x9f\xff\r\n\r\n"},
		"connection":           {append(bare[:4:4], [2]string{"connection", "close"}), "RST"},
		"keep-alive":           {append(bare[:4:4], [2]string{"keep-alive", "5"}), "RST"},
		"proxy-connection":     {append(bare[:4:4], [2]string{"proxy-connection", "close"}), "RST"},
		"transfer-encoding":    {append(bare[:4:4], [2]string{"transfer-encoding", "chunked"}), "RST"},
		"upgrade":              {append(bare[:4:4], [2]string{"upgrade", "websocket"}), "RST"},
		"te trailers":          {append(bare[:4:4], [2]string{"te", "trailers"}), head + "te: trailers\r\n\r\n"},
		"te gzip":              {append(bare[:4:4], [2]string{"te", "gzip"}), "RST"},
		"te both":              {append(bare[:4:4], [2]string{"te", "trailers, gzip"}), "RST"},
		"length without body":  {append(bare[:4:4], [2]string{"content-length", "5"}), "RST"},
		"length 0":             {append(bare[:4:4], [2]string{"content-length", "0"}), head + "content-length: 0\r\n\r\n"},
		"length wrong":         {append(bare[:4:4], [2]string{"content-length", "+5"}), "400"},
		"length twice":         {append(bare[:4:4], many(2, [2]string{"content-length", "0"})...), "400"},
		"cookies":              {append(bare[:4:4], [2]string{"cookie", "a=1"}, [2]string{"x", "y"}, [2]string{"cookie", "b=2"}, [2]string{"cookie", "c=3"}), head + "cookie: a=1; b=2; c=3\r\nx: y\r\n\r\n"},
		"fields, as many":      {append(bare[:4:4], many(99, [2]string{"x", "y"})...), head + strings.Repeat("x: y\r\n", 99) + "\r\n"},
		"fields, too many":     {append(bare[:4:4], many(100, [2]string{"x", "y"})...), "431"},
		"fields, far too many": {append(bare[:4:4], many(3000, [2]string{"x", "y"})...), "431"},
		"bomb":                 {append(bare[:4:4], many(3000, [2]string{"x", strings.Repeat("y", 4000)})...), "431"},
		"cookie bomb":          {append(bare[:4:4], many(9000, [2]string{"cookie", "a"})...), "431"},
		"long value":           {append(bare[:4:4], [2]string{"x", strings.Repeat("y", 17000)}), "431"},
		"longer value":         {append(bare[:4:4], [2]string{"x", strings.Repeat("\x01", 40000)}), "431"},
		"websocket": {[][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, bare[1], bare[2], {":path", "/chat"}, {"sec-websocket-version", "13"}, {"sec-websocket-key", "mine"}},
			"GET /chat HTTP/1.1\r\nhost: shop.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: KEY\r\nsec-websocket-version: 13\r\n\r\n"},
		"other protocol":          {[][2]string{{":method", "CONNECT"}, {":protocol", "x-chat"}, bare[1], bare[2], bare[3]}, head + "connection: Upgrade\r\nupgrade: x-chat\r\n\r\n"},
		"protocol of two lines":   {[][2]string{{":method", "CONNECT"}, {":protocol", "a b"}, bare[1], bare[2], bare[3]}, "RST"},
		"websocket of a length":   {[][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, bare[1], bare[2], bare[3], {"content-length", "0"}}, "RST"},
		"websocket without path":  {[][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, bare[1], bare[2]}, "RST"},
		"websocket to nobody":     {[][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, bare[1], bare[3]}, "RST"},
		"underscores are a token": {append(bare[:4:4], [2]string{"x_y", "z"}), head + "x_y: z\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var text string
			status := 0
			s := newServer(t, func(a *asked) reply { text = string(a.text); return plain(200, "ok") })
			s.refused = func(f http1.Fault) { status = f.Status() }
			w := newScript().hello()
			block := w.fields(tt.fields)
			flags := byte(flagEnd)
			for kind := byte(frameHeaders); ; kind, flags = frameContinuation, 0 {
				n := min(len(block), frameMost)
				if n == len(block) {
					flags |= flagEndHeaders
				}
				w.frame(kind, flags, 1, block[:n]...)
				if block = block[n:]; len(block) == 0 {
					break
				}
			}
			got := said(t, s.feed(w.take()))
			first := text
			text = ""
			s.feed(w.headers(3, true, bare).take())
			if text != head+"\r\n" || s.c.Over() {
				t.Errorf("the next request reads %q, over %v: HPACK is out of step", text, s.c.Over())
			}
			text = first
			switch {
			case got == "RST 1 1":
				text = "RST"
			case got != "":
				text = got
			case status != 0:
				text = strconv.Itoa(status)
			}
			if i := strings.Index(text, "sec-websocket-key: "); i >= 0 {
				i += len("sec-websocket-key: ")
				text = text[:i] + "KEY" + text[i+24:]
			}
			if text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
		})
	}
}
