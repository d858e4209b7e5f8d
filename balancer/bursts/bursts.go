// Package bursts remembers where a visitor without a cookie was sent, while his first
// request has no answer yet: a browser opens several connections before the first
// answer has brought it a cookie, and each would begin a session elsewhere.
//
// A visitor is an address with a user agent, so two people behind one address
// translator look alike. That is why only requests that truly run at the same time
// join: whoever comes after the first answer is somebody else, or has a cookie. A
// window of time after it was tried; it made one session of a newcomer's loop of
// curl, and of everybody in an office.
//
// It does not know who may join whom: the balancer asks.
package bursts

import "sync"

// Table is the first visits of all pools. U is what a visitor is sent to. The zero
// value is an empty table.
type Table[U any] struct {
	buckets [buckets]Bucket[U]
}

const (
	buckets = 1024 // locks, of new visitors only
	ways    = 4    // visitors in one bucket; the oldest gives way

	// most is how many requests may join one: more than any browser opens
	// towards one host, so that a load test from one machine still spreads.
	most = 15
)

// Bucket is the first visits of some keys. Who has it from Lock is alone with it.
type Bucket[U any] struct {
	mu    sync.Mutex
	first [ways]Visit[U]
}

// Visit is a visitor's first request, on its way.
type Visit[U any] struct {
	Key     uint64 // 0: free
	Up      U
	Session uint64
	Start   int64
	Until   int64 // Unix milliseconds: nobody joins a request that takes longer
	Joined  int   // requests that did
}

// Lock returns the locked bucket of a key.
func (t *Table[U]) Lock(key uint64) *Bucket[U] {
	b := &t.buckets[key>>32%buckets]
	b.mu.Lock()
	return b
}

// Unlock gives the bucket back.
func (b *Bucket[U]) Unlock() { b.mu.Unlock() }

// Find returns the first visit that a request with this key may join, or nil.
func (b *Bucket[U]) Find(key uint64, now int64) *Visit[U] {
	for i := range b.first {
		if v := &b.first[i]; v.Key == key && now <= v.Until && v.Joined < most {
			return v
		}
	}
	return nil
}

// Put remembers a first visit.
func (b *Bucket[U]) Put(v Visit[U]) {
	oldest := &b.first[0]
	for i := range b.first {
		f := &b.first[i]
		if f.Key == v.Key || f.Key == 0 {
			oldest = f
			break
		}
		if f.Until < oldest.Until {
			oldest = f
		}
	}
	*oldest = v
}

// End takes away the first visit that began a session under a key, and sets the key to 0. With 0
// it does nothing.
func (t *Table[U]) End(key *uint64, session uint64) {
	if *key == 0 {
		return
	}
	b := t.Lock(*key)
	defer b.Unlock()
	for i := range b.first {
		if v := &b.first[i]; v.Key == *key && v.Session == session {
			*v = Visit[U]{}
		}
	}
	*key = 0
}
