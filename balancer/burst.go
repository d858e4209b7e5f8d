package balancer

import "sync"

// bursts remembers where a visitor without a cookie was sent, while his first
// request has no answer yet: a browser opens several connections before the first
// answer has brought it a cookie, and each would begin a session elsewhere.
//
// A visitor is an address with a user agent, so two people behind one address
// translator look alike. That is why only requests that truly run at the same time
// join: whoever comes after the first answer is somebody else, or has a cookie. A
// window of time after it was tried; it made one session of a newcomer's loop of
// curl, and of everybody in an office.
type bursts struct {
	buckets [burstBuckets]burstBucket
}

const (
	burstBuckets = 1024 // locks, of new visitors only
	burstWays    = 4    // visitors in one bucket; the oldest gives way

	// burstMost is how many requests may join one: more than any browser opens
	// towards one host, so that a load test from one machine still spreads.
	burstMost = 15
)

type burstBucket struct {
	mu    sync.Mutex
	first [burstWays]firstVisit
}

// firstVisit is a visitor's first request, on its way.
type firstVisit struct {
	key     uint64 // 0: free
	up      *Upstream
	session uint64
	start   int64
	until   int64 // Unix milliseconds: nobody joins a request that takes longer
	joined  int
}

func newBursts() *bursts { return &bursts{} }

// lock returns the locked bucket of a key.
func (b *bursts) lock(key uint64) *burstBucket {
	k := &b.buckets[key>>32%burstBuckets]
	k.mu.Lock()
	return k
}

// find returns the first visit that a request with this key may join.
func (b *burstBucket) find(key uint64, now int64) *firstVisit {
	for i := range b.first {
		if f := &b.first[i]; f.key == key && now <= f.until && f.joined < burstMost {
			return f
		}
	}
	return nil
}

func (b *burstBucket) put(v firstVisit) {
	oldest := &b.first[0]
	for i := range b.first {
		f := &b.first[i]
		if f.key == v.key || f.key == 0 {
			oldest = f
			break
		}
		if f.until < oldest.until {
			oldest = f
		}
	}
	*oldest = v
}

// end takes away the first visit that the choice c was.
func (b *bursts) end(c *Choice) {
	if c.burstKey == 0 {
		return
	}
	k := b.lock(c.burstKey)
	defer k.mu.Unlock()
	for i := range k.first {
		if f := &k.first[i]; f.key == c.burstKey && f.session == c.Session {
			*f = firstVisit{}
		}
	}
	c.burstKey = 0
}
