package store

import clientv3 "go.etcd.io/etcd/client/v3"

// Op is one write of a transaction.
type Op = clientv3.Op

// Cmp is one comparison of a transaction.
type Cmp = clientv3.Cmp

// Put writes a value under a key.
func Put(key string, value []byte) Op { return clientv3.OpPut(key, string(value)) }

// Delete deletes a key.
func Delete(key string) Op { return clientv3.OpDelete(key) }

// DeleteUnder deletes all keys that start with prefix.
func DeleteUnder(prefix string) Op { return clientv3.OpDelete(prefix, clientv3.WithPrefix()) }

// IfWrittenBefore holds while nothing was written to a key from revision on.
func IfWrittenBefore(key string, revision int64) Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "<", revision)
}

// IfExists holds while there is such a key.
func IfExists(key string) Cmp { return clientv3.Compare(clientv3.Version(key), ">", 0) }

// IfMissing holds while there is no such key.
func IfMissing(key string) Cmp { return clientv3.Compare(clientv3.Version(key), "=", 0) }
