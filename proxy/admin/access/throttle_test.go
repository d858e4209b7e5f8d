package access

import (
	"testing"
	"time"
)

// The first wrong credentials are free. Each of the others costs a pause that doubles up to a minute, and is over when it
// was told to be; a right credential or a quiet quarter of an hour ends it all.
func TestPauseDoubles(t *testing.T) {
	th, now := newThrottle(), time.Now()
	for range throttleFree {
		if _, pause := th.fail("key", now); pause != 0 || th.wait("key", now) != 0 {
			t.Fatalf("a free one costs %v", pause)
		}
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		want *= time.Second
		_, pause := th.fail("key", now)
		if wait := th.wait("key", now); pause != want || wait < want-time.Microsecond || wait > want {
			t.Fatalf("a pause of %v, %v of them to wait, in place of %v", pause, wait, want)
		}
		if wait := th.wait("key", now.Add(want/4)); wait < want*3/4-time.Microsecond || wait > want*3/4+time.Microsecond {
			t.Fatalf("after a quarter of %v there are %v to wait", want, wait)
		}
		if wait := th.wait("key", now.Add(want-time.Millisecond)); wait == 0 {
			t.Fatalf("a pause of %v ends early", want)
		}
		now = now.Add(want)
		if wait := th.wait("key", now); wait != 0 {
			t.Fatalf("after %v there are %v to wait", want, wait)
		}
	}
	th.fail("key", now)
	if wait := th.wait("other", now); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
	if wait := th.wait("key", now.Add(throttleForget+time.Second)); wait != 0 {
		t.Errorf("%v to wait after a quiet quarter of an hour", wait)
	}
	if _, pause := th.fail("key", now); pause != 0 {
		t.Errorf("what was forgotten costs %v", pause)
	}
}

// Several guesses may be on their way when the first of them fails. Each pause is counted from the last failure.
func TestPauseCountsFromLastFailure(t *testing.T) {
	th, now := newThrottle(), time.Now()
	for range throttleFree + 4 {
		th.fail("key", now)
	}
	now = now.Add(7900 * time.Millisecond) // of eight seconds
	_, pause := th.fail("key", now)
	if wait := th.wait("key", now); pause != 16*time.Second || wait < pause-time.Microsecond || wait > pause {
		t.Errorf("a pause of %v, %v of them to wait", pause, wait)
	}
}
