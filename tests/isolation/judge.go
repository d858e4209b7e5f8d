package isolation

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func newRand(x *exchange) *rand.Rand { return rand.New(rand.NewPCG(x.pieceSeed, 2)) }

// status is the number in a status line. net/http speaks HTTP/1.0 with who does.
func (h *head) status(minor int) (int, error) {
	version, rest, _ := strings.Cut(h.first, " ")
	word, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(word)
	if version != "HTTP/1.1" && (minor == 1 || version != "HTTP/1.0") || err != nil || len(word) != 3 {
		return 0, foreignf("no status line: %.300q (%s)", h.raw, claim([]byte(h.raw)))
	}
	return n, nil
}

// answerFields are what the proxy adds.
var answerFields = set("content-length transfer-encoding connection date upgrade sec-websocket-accept trailer set-cookie cache-control keep-alive")

// fits: a head that bears a mark is the one that an origin made for this exchange.
func (h *head) fits(x *exchange, status int) error {
	if err := h.marked(x.answer, answerFields); err != nil {
		return err
	}
	if status != x.status || h.fields["x-mark"] == "" {
		return foreignf("status %d in the %s, drawn was %d: %.300q", status, x.answer.owner(), x.status, h.raw)
	}
	return nil
}

// interimFits: a 1xx answer is the origin's, or a 100 of the proxy's for who waits for one.
func (x *exchange) interimFits(h *head, status int) error {
	if status == 100 && len(h.fields) == 0 {
		if x.expect && (x.size > 0 || x.framing == byChunks) {
			return nil
		}
		return foreignf("100 Continue for the %s, which does not wait for it", x.request.owner())
	}
	for _, n := range x.interim {
		if n == status {
			return h.marked(x.answer, answerFields)
		}
	}
	return foreignf("%d for the %s: %.300q", status, x.request.owner(), h.raw)
}

// whole: a body that ended in order is as long as it was, unless its origin is the only one to know better.
func (x *exchange) whole(b *body) error {
	if x.bodiless() || b.off == x.asize || x.shortens() {
		return nil
	}
	return foreignf("the %s looks whole with %d of %d bytes by %v", x.answer.owner(), b.off, x.asize, b.kind)
}

// shortens reports whether the origin ends a body in order that only its connection's end ends.
func (x *exchange) shortens() bool {
	for i := range x.tries {
		if t := &x.tries[i]; x.aframing == byClose && t.cut >= 0 && t.how == fin {
			return true
		}
	}
	return false
}

// pages are the proxy's own answers: the handler's page, a driver's one line, and nothing.
var pages = regexp.MustCompile(`\A(<!doctype html>\n<html lang="en"><head><meta [^<]*><meta [^<]*><title>[1-5][A-Za-z0-9 -]*</title>\n<style>[^<]*</style></head>\n` +
	`<body><h1>[1-5][A-Za-z0-9 -]*</h1><p>[A-Za-z,. ]*</p></body></html>\n|[45][0-9][0-9] [A-Z][A-Za-z -]*\n|)\z`)

// page reads an answer of the proxy's own.
func (v *visit) page(x *exchange, a *answered, status int) error {
	n, err := strconv.Atoi(a.head.fields["content-length"])
	if err != nil || status < 400 || n > 8<<10 {
		return foreignf("neither an origin's answer nor a page of the proxy's: %.500q", a.head.raw)
	}
	if x.method == "HEAD" {
		n = 0
	}
	return ownPage(v.r, n)
}

func ownPage(r io.Reader, n int) error {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return short(err)
	}
	if !pages.Match(b) {
		return foreignf("no page of the proxy's: %.500q (%s)", b, claim(b))
	}
	return nil
}

// judge decides whether an exchange's outcome is one that may be.
func (v *visit) judge(x *exchange, n int, a *answered, err error) {
	v.w.outcome(v.c, x, a.own, err)
	var f *foreign
	if errors.As(err, &f) {
		if !v.w.unknowable(f) {
			v.w.fault(x, "answer %d of the connection: %v", n+1, err)
		}
		return
	}
	if errors.Is(err, errHang) && !v.wire.mute() {
		v.w.fault(x, "no byte for %v, in answer %d of the connection", patience, n+1)
		return
	}
	v.w.fair(x, v.unclean, v.began, a.own, err, func() string { return fmt.Sprintf("answer %d of the connection: %.300q", n+1, a.head.raw) })
}

// unknowable reports whether it was surplus that an origin sent a little later: when that comes just behind the next request, nobody can
// tell it from the answer. Whether the proxy could, its origin sees, see [origin.dirty].
func (w *World) unknowable(f *foreign) bool {
	if f.of&3 != ofSurplus {
		return false
	}
	x := w.find(f.of&^3 + ofRequest)
	if x == nil {
		return false
	}
	for i := range x.tries {
		if x.tries[i].behind == later {
			return true
		}
	}
	return false
}

// mute reports whether the reader itself has fallen silent.
func (w *wire) mute() bool { return w.leave >= 0 && w.got >= w.leave && w.leaves == silent }

// fair: where nobody misbehaves, the answer is whole and the origin's.
func (w *World) fair(x *exchange, unclean bool, began time.Time, own bool, err error, what func() string) {
	if unclean || !x.site.Kind {
		return
	}
	w.fairs.Add(1)
	if err == nil && !own {
		return
	}
	if time.Since(began) >= Timeout || w.pause.since(began) || w.starved() {
		w.lates.Add(1)
		w.slow.Store(seedOf(x), x)
		return
	}
	w.fault(x, "nobody misbehaved, yet after %v: own page %v, %v, %s", time.Since(began).Round(time.Millisecond), own, err, what())
}

// outcome counts.
func (w *World) outcome(c *client, x *exchange, own bool, err error) {
	how := "whole"
	switch {
	case errors.Is(err, errLeft):
		how = "left by the client"
	case errors.Is(err, errHang):
		how = "hangs"
	case errors.Is(err, io.EOF):
		how = "nothing"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		how = "cut"
	case err != nil:
		how = "ended: " + fmt.Sprintf("%T", err)
	case own:
		how = "the proxy's own"
	}
	w.count(fmt.Sprintf("%v: %s", c.over, how))
	if x.site.Kind {
		w.count("kind: " + how)
	} else {
		w.count("rough: " + how)
	}
}
