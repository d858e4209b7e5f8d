package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"portico/membership/catalog"
)

// TestManySitesOfAFile: the hosts of a long configuration file are stored, and one site more writes that site alone. They were one record,
// which twelve hundred sites made too large to store: a proxy with more of them did not start.
func TestManySitesOfAFile(t *testing.T) {
	b := newBench(t)
	b.must(func(tx *catalog.Tx) error {
		return tx.PutMember(catalog.Member{Name: "front", Role: catalog.RoleProxy, Admission: catalog.Accepted})
	})
	file := catalog.Reserved{Proxy: "front", Admin: []string{"admin.test"}}
	grow := func(to int) (written int) {
		for i := len(file.Sites); i < to; i++ {
			file.Sites = append(file.Sites, catalog.ReservedSite{Name: fmt.Sprintf("site%d", i), Hosts: []string{fmt.Sprintf("site%d.test", i)}, Path: "/"})
		}
		before := b.v.Reserved
		b.must(func(tx *catalog.Tx) error { return Reserve(tx, file) })
		for name, r := range b.v.Reserved {
			if before[name] != r {
				written++
			}
		}
		return written
	}
	grow(10)
	if n := len(b.v.Reserved); n != 1 {
		t.Fatalf("a short file takes %d records", n)
	}
	grow(5000)
	for name, r := range b.v.Reserved {
		if data, _ := json.Marshal(r); len(data) > 4<<10 {
			t.Fatalf("record %q has %d bytes", name, len(data))
		}
	}
	for range 2 {
		if n := grow(5001); n > 1 {
			t.Fatalf("one site more writes %d records", n)
		}
	}
	if n := grow(5001); n != 0 {
		t.Fatalf("the same file writes %d records", n)
	}
	for _, host := range []string{"admin.test", "site7.test", "site5000.test"} {
		if err := b.deploy("somebody", "late", hosts("/", host)); !errors.Is(err, catalog.ErrConflict) {
			t.Fatalf("a site got host %s of the file: %v", host, err)
		}
	}
	file.Sites = file.Sites[:3]
	grow(3)
	if n := len(b.v.Reserved); n != 1 {
		t.Fatalf("the file is short again and takes %d records", n)
	}
	if err := b.deploy("somebody", "late", hosts("/", "site7.test")); err != nil {
		t.Fatal(err)
	}
	b.must(func(tx *catalog.Tx) error { tx.DeleteReserved("front"); return nil })
	if n := len(b.v.Reserved); n != 0 {
		t.Fatalf("%d records are left of a proxy that is gone", n)
	}
}
