package balancer

import "sync"

// bursts remembers for a moment where a visitor without a cookie was sent: a
// browser opens several connections before the first answer has brought it one,
// and each would begin a session elsewhere.
//
// A visitor is an address with a user agent. Behind one address translator two
// people with the same browser who arrive within the same quarter of a second
// share a place and a session id; a longer window would catch slower pages and
// more such neighbours. It costs them nothing but an uncounted session.
type bursts struct {
	buckets [burstBuckets]burstBucket
}

const (
	burstBuckets = 1024 // locks, of new visitors only
	burstWays    = 4    // visitors in one bucket; the oldest gives way
)

type burstBucket struct {
	mu    sync.Mutex
	first [burstWays]firstVisit
}

type firstVisit struct {
	key     uint64
	up      *Upstream
	session uint64
	start   int64
	until   int64 // Unix milliseconds
}

func newBursts() *bursts { return &bursts{} }

// lock returns the locked bucket of a key.
func (b *bursts) lock(key uint64) *burstBucket {
	k := &b.buckets[key>>32%burstBuckets]
	k.mu.Lock()
	return k
}

func (b *burstBucket) find(key uint64, now int64) *firstVisit {
	for i := range b.first {
		if f := &b.first[i]; f.key == key && now <= f.until {
			return f
		}
	}
	return nil
}

func (b *burstBucket) put(v firstVisit, now int64) {
	oldest := &b.first[0]
	for i := range b.first {
		f := &b.first[i]
		if f.key == v.key {
			oldest = f
			break
		}
		if f.until < oldest.until {
			oldest = f
		}
	}
	*oldest = v
}
