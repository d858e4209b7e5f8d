package store

import (
	"testing"
	"time"

	_ "go.etcd.io/etcd/server/v3/storage/mvcc" // whose variable it is
)

// TestResyncIsSeldom: the variable is etcd's, which begins with another value.
func TestResyncIsSeldom(t *testing.T) {
	if watchResyncPeriod != 100*time.Millisecond && watchResyncPeriod != resyncEvery {
		t.Errorf("etcd's variable is %v: has it another meaning now?", watchResyncPeriod)
	}
	resyncSeldom()
	if watchResyncPeriod != resyncEvery {
		t.Errorf("it is %v", watchResyncPeriod)
	}
}
