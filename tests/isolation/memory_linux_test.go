package isolation

import "testing"

// TestStarved: an answer that is cut counts as late, and not as a fault, only once the system has counted a
// connection that it reset for want of memory.
func TestStarved(t *testing.T) {
	const before = "TcpExt: SyncookiesSent TCPAbortOnMemory TCPAbortOnLinger\nTcpExt: 3 17 2\nIpExt: InNoRoutes\nIpExt: 9\n"
	if n := countIn(before, "TCPAbortOnMemory"); n != 17 {
		t.Errorf("the counter is 17, read as %d", n)
	}
	if n := countIn(before, "TCPAbortOnData"); n != 0 {
		t.Errorf("a counter that is not there is read as %d", n)
	}
	w := NewWorld(t)
	w.aborts.Store(abortedForMemory() + 1<<40)
	if w.starved() {
		t.Error("starved without a connection that was reset")
	}
	w.aborts.Store(abortedForMemory() - 1)
	if !w.starved() {
		t.Error("not starved, though a connection was reset")
	}
}
