package store

import (
	"sync"
	"time"
	_ "unsafe" // for the name of etcd's variable
)

// resyncEvery is how often etcd looks whether a watcher has to be brought up to date that began behind the present revision. It looks ten
// times a second otherwise, at rest too, which is a third of what wakes a proxy then. Our only watcher waits at most so much longer, and
// only if something was written between the read and the watch that follows it.
const resyncEvery = time.Second

// Etcd keeps this as a variable for its tests and has no setting for it. Without such a variable the program does not link.
//
//go:linkname watchResyncPeriod go.etcd.io/etcd/server/v3/storage/mvcc.watchResyncPeriod
var watchResyncPeriod time.Duration

// resyncSeldom is called before the first server starts.
var resyncSeldom = sync.OnceFunc(func() { watchResyncPeriod = resyncEvery })
