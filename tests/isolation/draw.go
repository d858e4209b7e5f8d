package isolation

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// scene is what one seed draws: a few clients at the same time.
type scene struct {
	seed    int
	clients []*client
}

// client is one visitor and its connection.
type client struct {
	n         int
	over      protocol
	pipelined bool
	wait      time.Duration // before it begins
	small     bool          // receive buffer
	exchanges []*exchange
}

type protocol uint8

const (
	plain protocol = iota
	secure
	two // HTTP/2
)

func (p protocol) String() string { return [...]string{"plain", "TLS", "HTTP/2"}[p] }

// exchange is a request, its answer, and how both sides behave about them.
type exchange struct {
	request, answer, surplus mark

	site    *Site
	method  string
	minor   int // of the client's HTTP/1 version
	fill    int // bytes of a field that makes the request's head larger
	framing framing
	size    int64 // of the request's body; of a tunnel: what the client sends through it
	trailer bool
	expect  bool
	sends   sending
	takes   taking

	upgrade   bool // asked for
	status    int
	afill     int
	aframing  framing
	asize     int64
	atrailer  bool
	interim   []int
	tries     [3]try
	pieceSeed uint64
}

// sending is how a client sends its request.
type sending struct {
	cut    int64 // after so many bytes of its body it ends; negative: it does not
	inHead bool  // the cut is in the head: cut is a place there
	how    ending
	pace   pace
	after  time.Duration // an expectation is waited for so long; 0: until there is an answer
}

// taking is how a client takes its answer.
type taking struct {
	leave int64 // after so many bytes from the connection; negative: it stays
	how   ending
	slow  int64 // after so many bytes it rests once; negative: never
	rest  time.Duration
}

// try is what an origin does when the request comes for the first, second or third time.
type try struct {
	after   int64 // it answers when so many bytes of the body have come; negative: all
	mute    bool  // no 100 Continue
	cut     int64 // after so many bytes of its answer it ends; negative: it does not
	how     ending
	behind  surplus
	says    bool   // Connection: close
	then    ending // when all is said
	pace    pace
	aligned bool          // the answer fills whole reads
	deaf    bool          // it reads no more than what comes before it answers
	bad     bool          // what it says is no answer
	slow    int64         // after so many bytes it rests once; negative: never
	rest    time.Duration // for so long
}

type surplus uint8

const (
	nothing  surplus = iota
	together         // an answer for somebody else, in the same write
	later            // the same, a little later
	garbage          // bytes that are no answer
)

// draw makes a seed's scene. Only the seed and the sites' number decide.
func draw(seed int, sites []*Site, f Front) *scene {
	r := rand.New(rand.NewPCG(uint64(seed), 0x150))
	sc := &scene{seed: seed}
	for n := range 2 + r.IntN(3) {
		c := &client{n: n, over: protocol(r.IntN(3)), wait: time.Duration(r.IntN(4)) * time.Millisecond, small: chance(r, 25)}
		if c.over == two && !f.Two {
			c.over = plain
		}
		c.pipelined = c.over != two && chance(r, 30)
		for i := range 1 + r.IntN(4) {
			c.exchanges = append(c.exchanges, drawExchange(r, seed, n, i, sites, c))
		}
		sc.clients = append(sc.clients, c)
	}
	return sc
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func drawExchange(r *rand.Rand, seed, client, n int, sites []*Site, c *client) *exchange {
	x := &exchange{
		request: markOf(seed, client, n, ofRequest), answer: markOf(seed, client, n, ofAnswer), surplus: markOf(seed, client, n, ofSurplus),
		site: sites[r.IntN(len(sites))], minor: 1, pieceSeed: r.Uint64(),
	}
	x.sends.cut, x.takes.leave, x.takes.slow = -1, -1, -1
	if chance(r, 20) {
		x.fill = r.IntN(9000)
	}
	drawRequest(r, x, c)
	drawAnswer(r, x)
	drawConduct(r, x, c)
	for i := range x.tries {
		x.tries[i] = drawTry(r, x)
	}
	return x
}

func drawRequest(r *rand.Rand, x *exchange, c *client) {
	x.method = [...]string{"GET", "GET", "GET", "POST", "POST", "PUT", "HEAD"}[r.IntN(7)]
	switch {
	case c.over != two && !c.pipelined && chance(r, 4):
		x.method, x.upgrade, x.size = "GET", true, size(r)
	case x.method == "POST" || x.method == "PUT":
		x.size = size(r)
		x.framing = byLength
		if chance(r, 35) {
			x.framing = byChunks
			x.trailer = c.over != two && chance(r, 30)
		}
		x.expect = !c.pipelined && chance(r, 12)
	case c.over != two && chance(r, 5):
		x.minor = 0
	case c.over != two && !c.pipelined && chance(r, 3):
		x.expect = true // of nothing
	}
	if x.expect && chance(r, 30) {
		x.sends.after = time.Duration(5+r.IntN(300)) * time.Millisecond
	}
}

func drawAnswer(r *rand.Rand, x *exchange) {
	x.status = [...]int{200, 200, 200, 200, 200, 200, 200, 404, 500, 413, 204, 304}[r.IntN(12)]
	if x.upgrade && chance(r, 75) {
		x.status = 101
	}
	if chance(r, 20) {
		x.afill = r.IntN(5000)
	}
	x.asize = size(r)
	x.aframing = [...]framing{byLength, byLength, byLength, byChunks, byChunks, byClose}[r.IntN(6)]
	x.atrailer = x.aframing == byChunks && chance(r, 20)
	if chance(r, 8) && x.minor == 1 {
		for range 1 + r.IntN(3) {
			x.interim = append(x.interim, [...]int{103, 103, 102, 100}[r.IntN(4)])
		}
	}
}

// size draws a body: mostly small, often at the edge of a buffer, sometimes what only the kernel would move.
func size(r *rand.Rand) int64 {
	switch k := r.IntN(100); {
	case k < 12:
		return 0
	case k < 45:
		return r.Int64N(2000)
	case k < 60:
		edge := [...]int64{4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10}[r.IntN(6)]
		return max(0, edge+r.Int64N(600)-400)
	case k < 85:
		return r.Int64N(64 << 10)
	case k < 98:
		return 64<<10 + r.Int64N(500<<10)
	}
	return 500<<10 + r.Int64N(largest-500<<10)
}

// drawConduct draws how the client behaves: mostly well.
func drawConduct(r *rand.Rand, x *exchange, c *client) {
	x.sends.pace = drawPace(r, x.size)
	if chance(r, 6) || x.asize > 100<<10 && chance(r, 30) {
		x.takes.slow, x.takes.rest = place(r, x.asize), time.Duration(1+r.IntN(60))*time.Millisecond
	}
	switch k := r.IntN(100); {
	case k < 10:
		x.sends.how = drawEnding(r)
		x.sends.cut = place(r, x.size)
		if x.framing == none && !x.upgrade || chance(r, 15) {
			x.sends.inHead, x.sends.cut = true, r.Int64N(200)
		}
	case k < 19:
		x.takes.how = [...]ending{fin, fin, reset, reset, silent}[r.IntN(5)]
		x.takes.leave = place(r, x.asize+200)
		if x.takes.how == silent && chance(r, 70) {
			x.takes.how = reset
		}
	}
	if c.over == two && x.sends.inHead {
		x.sends.inHead, x.sends.cut = false, 0
	}
}

// drawEnding prefers what is quickly over.
func drawEnding(r *rand.Rand) ending {
	return [...]ending{fin, fin, fin, fin, half, half, reset, reset, reset, reset, reset, reset, silent}[r.IntN(13)]
}

func drawPace(r *rand.Rand, n int64) pace {
	p := pace{pauseAt: -1}
	if chance(r, 15) {
		p.piece = [...]int{1 + r.IntN(100), 1 + r.IntN(5000), 4096, 32768}[r.IntN(4)]
		p.piece = max(p.piece, int(n/200))
	}
	if chance(r, 15) {
		p.pauseAt, p.pause = place(r, n+300), time.Duration(r.IntN(15))*time.Millisecond
	}
	return p
}

// place draws a byte of a message of n: anywhere, or close to an end, where mistakes are.
func place(r *rand.Rand, n int64) int64 {
	if n <= 0 {
		return 0
	}
	switch r.IntN(4) {
	case 0:
		return min(n, r.Int64N(700))
	case 1:
		return max(0, n-r.Int64N(700))
	}
	return r.Int64N(n + 1)
}

// drawTry draws what the origin does. Those of a kind site only do what every client must survive.
func drawTry(r *rand.Rand, x *exchange) try {
	t := try{after: -1, cut: -1, slow: -1, pace: drawPace(r, x.asize), says: chance(r, 6), mute: chance(r, 3)}
	if x.size > 0 && chance(r, 15) {
		t.slow, t.rest = place(r, x.size), time.Duration(1+r.IntN(50))*time.Millisecond
	}
	if x.aframing == byClose && !x.bodiless() || t.says {
		t.then = fin
	}
	if x.site.Kind {
		return t
	}
	t.aligned = x.aframing == byLength && chance(r, 15)
	if x.size > 0 && !x.upgrade && chance(r, 15) {
		t.after = place(r, x.size)
		t.deaf = chance(r, 50)
	}
	if x.expect && chance(r, 30) {
		t.after, t.mute = 0, true
		if chance(r, 50) {
			t.pace.pauseAt, t.pace.pause = 300+place(r, x.asize), longPause // somebody else's patience with the origin ends
		}
	}
	switch k := r.IntN(100); {
	case k < 22:
		t.how = drawEnding(r)
		t.cut = place(r, x.asize+250)
		if chance(r, 30) {
			t.cut = 0
		}
		if t.how == half && !x.site.Secure {
			t.how = fin
		}
	case k < 34 && x.endsItself():
		t.behind = surplus(1 + r.IntN(3))
		t.aligned = x.aframing == byLength && chance(r, 60)
	case k < 37:
		t.bad, t.then = true, fin
	case k < 42:
		t.then = drawEnding(r)
		if t.then == silent {
			t.then = fin
		}
	}
	if t.deaf && t.then != reset {
		t.then = [...]ending{fin, reset}[r.IntN(2)]
	}
	return t
}

// endsItself reports whether bytes behind the answer are behind it: those of a tunnel, or before the end
// of a connection that ends a body, are not.
func (x *exchange) endsItself() bool {
	return x.status != 101 && (x.aframing != byClose || x.bodiless())
}

// stall is how long somebody rests who reads no more: mostly a moment, sometimes until the proxy's patience ends.
func (x *exchange) stall() time.Duration {
	if x.pieceSeed%8 == 0 {
		return Timeout + Timeout/4
	}
	return time.Duration(x.pieceSeed%30) * time.Millisecond
}

// longPause is more than a proxy waits for an origin's 100 Continue.
const longPause = 1200 * time.Millisecond

// clean reports whether the client does nothing but send its request and take its answer.
func (x *exchange) clean() bool { return x.sends.cut < 0 && x.takes.leave < 0 }

// describe is what was drawn, for whoever looks for the fault.
func (x *exchange) describe(c *client) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s over %v (pipelined %v) to %s: %s %d bytes by %v, expects %v", x.request.owner(), c.over, c.pipelined, x.site.Name, x.method, x.size, x.framing, x.expect)
	if x.sends.cut >= 0 {
		fmt.Fprintf(&b, ", %v at %d of it (in head %v)", x.sends.how, x.sends.cut, x.sends.inHead)
	}
	if x.takes.leave >= 0 {
		fmt.Fprintf(&b, ", %v after %d bytes of the answer", x.takes.how, x.takes.leave)
	}
	fmt.Fprintf(&b, "; answer %d, %d bytes by %v, interim %v", x.status, x.asize, x.aframing, x.interim)
	for i, t := range x.tries[:2] {
		fmt.Fprintf(&b, "; try %d: after %d", i+1, t.after)
		if t.cut >= 0 {
			fmt.Fprintf(&b, ", %v at %d", t.how, t.cut)
		}
		fmt.Fprintf(&b, ", surplus %d, aligned %v, deaf %v, bad %v, then %v, rests %v before %d", t.behind, t.aligned, t.deaf, t.bad, t.then, t.pace.pause, t.pace.pauseAt)
	}
	return b.String()
}

// head is the request's head on an HTTP/1 wire.
func (x *exchange) head() []byte {
	b := fmt.Appendf(nil, "%s /%s HTTP/1.%d\r\nHost: %s\r\nX-Mark: %s\r\n", x.method, x.request, x.minor, x.site.Host, x.request)
	if x.fill > 0 {
		b = fmt.Appendf(b, "X-Fill: %s\r\n", x.request.text(x.fill))
	}
	if x.expect {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	if x.upgrade {
		b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+webKey+"\r\n"...)
	}
	switch x.framing {
	case byLength:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), x.size, 10), "\r\n"...)
	case byChunks:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case none, byClose:
	}
	return append(b, "\r\n"...)
}

// From RFC 6455, 1.3.
const (
	webKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	webAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// bodiless reports whether the answer has no body, whatever it says.
func (x *exchange) bodiless() bool {
	return x.method == "HEAD" || x.status == 204 || x.status == 304
}

// message is the answer as an origin writes it, with what it sends behind it in the same write, and where the answer itself ends.
func (x *exchange) message(t *try) (b []byte, end int) {
	r := rand.New(rand.NewPCG(x.pieceSeed, 1))
	for _, status := range x.interim {
		b = fmt.Appendf(b, "HTTP/1.1 %d Interim\r\nX-Mark: %s\r\n\r\n", status, x.answer)
	}
	b = x.answerHead(b, t)
	if t.aligned { // the head grows until the whole fills its last read
		const read = 32 << 10
		if gap := (read - (len(b)+int(x.asize))%read) % read; gap >= 12 && gap < 6000 {
			b = fmt.Appendf(b[:len(b)-2], "X-Gap: %s\r\n\r\n", x.answer.text(gap-9))
		}
	}
	if !x.bodiless() && x.status != 101 {
		b = appendBody(b, x.answer, x.aframing, x.asize, x.atrailer, r)
	}
	end = len(b)
	if t.behind == together || t.behind == garbage {
		b = x.appendSurplus(b, t)
	}
	return b, end
}

func (x *exchange) answerHead(b []byte, t *try) []byte {
	b = fmt.Appendf(b, "HTTP/1.1 %d Drawn\r\nX-Mark: %s\r\n", x.status, x.answer)
	if x.afill > 0 {
		b = fmt.Appendf(b, "X-Fill: %s\r\n", x.answer.text(x.afill))
	}
	if t.says && x.status != 101 {
		b = append(b, "Connection: close\r\n"...)
	}
	switch {
	case x.status == 101:
		b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+webAccept+"\r\n"...)
	case x.status == 204:
	case x.aframing == byLength:
		b = fmt.Appendf(b, "Content-Length: %d\r\n", x.asize)
	case x.aframing == byChunks:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(b, "\r\n"...)
}

// appendSurplus writes what is nobody's: an answer that whoever comes next would take for its own.
func (x *exchange) appendSurplus(b []byte, t *try) []byte {
	n := 30 + int(x.pieceSeed%1000) // with its head less than a segment
	if t.behind != garbage {
		b = fmt.Appendf(b, "HTTP/1.1 200 OK\r\nX-Mark: %s\r\nContent-Length: %d\r\n\r\n", x.surplus, n)
	}
	return append(b, x.surplus.text(n)...)
}
