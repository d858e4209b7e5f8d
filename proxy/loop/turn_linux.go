package loop

import (
	"runtime"
	"time"

	"portico/proxy/loop/socket"
)

// A turn is what a loop does between two looks at the kernel. However much there is to do, it ends well within a millisecond: what is
// left waits for the next one, behind what has become ready meanwhile. Each stage has a share of its own, so that none starves.
const (
	eventShare = int64(100 * time.Microsecond)
	mailShare  = int64(50 * time.Microsecond)
	queueShare = int64(50 * time.Microsecond)
	timerShare = int64(50 * time.Microsecond)
	h2Share    = int64(80 * time.Microsecond)
	turnShare  = int64(250 * time.Microsecond) // of all together
	leastShare = int64(10 * time.Microsecond)

	// Reading the clock costs as much as a small event's bookkeeping, so it is read when about this many bytes were moved, or work
	// worth as many.
	workCheck   = 64 << 10
	eventWork   = 2 << 10
	connectWork = 64 << 10
	acceptWork  = 8 << 10
	closeWork   = 8 << 10

	// The scheduler interrupts a goroutine that has run for 10 ms wherever it is. A loop that is always busy lets others run before
	// that, between two turns.
	yieldAfter = int64(5 * time.Millisecond)
)

// watch lets a test look at turns, and at the work that was done between two looks at the clock; nil otherwise.
type watch struct {
	begin, end func()
	looked     func(work int)
}

// stage begins a part of a turn that may last for share, or for less where the parts before it took longer than they should.
func (l *loop) stage(share int64) {
	l.now = l.srv.clock()
	if l.watch != nil {
		l.watch.looked(l.work)
	}
	l.work, l.until = 0, l.now+min(share, max(l.begun+turnShare-l.now, leastShare))
}

// late reports whether the present stage has had its share.
func (l *loop) late() bool {
	if l.work < workCheck {
		return false
	}
	l.now = l.srv.clock()
	if l.now >= l.until {
		return true // and is so for whoever asks next
	}
	if l.watch != nil {
		l.watch.looked(l.work)
	}
	l.work = 0
	return false
}

// poll asks the kernel, unless the last answer is not used up.
func (l *loop) poll() {
	if l.now-l.yielded > yieldAfter {
		runtime.Gosched()
		l.yielded = l.srv.clock()
	}
	if l.done < l.got {
		return
	}
	n, err := l.wait()
	if err != nil {
		n = 0 // EINTR; anything else cannot happen to a descriptor that we own
	}
	l.done, l.got, l.early.until = 0, n, 0
}

// wait asks the kernel for events, and waits for some where there is nothing else to do. Who posts a message then has to wake the loop.
//
// A wait that blocks takes the processor along until the scheduler's watch notices, twenty microseconds later at the best, and keeps that
// watch awake: an eighth of what new TLS connections cost. So handshakes that could go on do so before it.
func (l *loop) wait() (n int, err error) {
	patience := l.patience()
	if patience == 0 {
		n, err = socket.EpollWait(l.ep, l.buf[:], 0)
	} else {
		if l.handshakes > 0 {
			runtime.Gosched()
		}
		if l.asleep.Store(true); l.signaled.Load() {
			patience = 0
		}
		n, err = socket.EpollWait(l.ep, l.buf[:], patience)
		l.asleep.Store(false)
	}
	l.mail = l.mail || l.signaled.Load()
	return n, err
}

// turn does what there is to do.
func (l *loop) turn() {
	l.begun = l.srv.clock()
	l.turns++
	l.stage(eventShare)
	if !l.draining && l.srv.draining.Load() { // before the events: an answer that comes after Shutdown tells so, on every loop
		l.drain()
	}
	l.gathering()
	for l.done < l.got && !l.late() {
		if l.done == l.early.until {
			l.receive()
		}
		l.done++
		l.work += eventWork
		l.event(&l.buf[l.done-1])
		if l.done == l.early.until {
			if l.early.unread > 0 {
				l.keep()
			}
			l.flush()
		}
	}
	if len(l.h2s) > 0 {
		l.turnH2()
	}
	if len(l.lines) > 0 {
		l.turnLines()
	}
	l.gathered()
	if l.mail {
		l.stage(mailShare)
		l.read()
	}
	if len(l.queue) > 0 {
		l.turnQueue()
	}
	if l.wheel.Due(l.now) || l.overdue {
		l.timers()
	}
	l.measure(l.begun)
}

// trim gives back buffers and sessions that nobody has needed for a second.
func (l *loop) trim() {
	l.mem.Trim()
	l.free.Trim()
	l.trimAt = l.now + int64(time.Second)
	l.work += closeWork
}

// turnQueue goes on with those who used up their budget, each once at most.
func (l *loop) turnQueue() {
	l.stage(queueShare)
	n, i := len(l.queue), 0
	for i < n {
		s := l.queue[i]
		i++
		if s.queued {
			s.queued = false
			s.x.Now(l.now)
			l.drive(s)
			if l.late() {
				break
			}
		}
	}
	left := copy(l.queue, l.queue[i:])
	clear(l.queue[left:])
	l.queue = l.queue[:left]
}

// timers runs what is due; once a second it lets idle upstream connections age.
func (l *loop) timers() {
	l.stage(timerShare)
	l.overdue = !l.wheel.Run(l.now, l.fire, l.late)
	if l.paused && l.now >= l.resume {
		l.pauseAccept(false)
	}
	if l.now >= l.trimAt {
		l.trim()
	}
	if l.now >= l.sweep {
		l.sweep = l.now + int64(time.Second)
		if !l.age() {
			l.sweep, l.overdue = 0, true
		}
	}
	if l.draining && !l.drainSome() {
		l.overdue = true
	}
}

// schedule makes sure that a socket is looked at soon after a deadline.
func (l *loop) schedule(s *sock, deadline int64) { l.wheel.Schedule(&s.timer, s, deadline) }
