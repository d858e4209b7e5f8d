package membership

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"portico/membership/catalog"
)

// Machines that have given up leave the list; those that still knock, and the
// memory of a refusal, stay.
func TestSweep(t *testing.T) {
	c, err := catalog.Open(t.Context(), catalog.Options{Dir: filepath.Join(t.TempDir(), "catalog"), Name: "proxy-1", Key: make([]byte, catalog.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	now := noon
	a := NewAdmission(AdmissionOptions{Catalog: c, Name: "proxy-1", now: func() time.Time { return now }})
	put := func(name string, admission catalog.Admission, key string, at time.Time) {
		_, err := c.Update(t.Context(), func(tx *catalog.Tx) error {
			return tx.PutMember(catalog.Member{Name: name, Role: catalog.RoleServer, Admission: admission, Fingerprint: key, Knocked: at, Decided: at})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put("silent", catalog.Pending, keyA, noon)
	put("knocking", catalog.Pending, keyB, noon)
	put("member", catalog.Accepted, fmt.Sprintf("%064d", 1), noon)
	put("revoked", catalog.Revoked, fmt.Sprintf("%064d", 2), noon.Add(-1000*time.Hour))
	put("refused", catalog.Refused, fmt.Sprintf("%064d", 3), noon)
	put("long-refused", catalog.Refused, fmt.Sprintf("%064d", 4), noon.Add(-refusedLife))

	check := func(want ...string) {
		t.Helper()
		if err := a.sweep(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		v := c.View()
		if len(v.Members) != len(want) {
			t.Errorf("%d members left, want %v", len(v.Members), want)
		}
		for _, name := range want {
			if v.Members[name] == nil {
				t.Errorf("%s is gone", name)
			}
		}
	}
	check("silent", "knocking", "member", "revoked", "refused", "long-refused")
	now = noon.Add(10 * time.Minute)
	a.seen.mark(keyB, now)
	now = noon.Add(16 * time.Minute)
	check("knocking", "member", "revoked", "refused")
}
