package command_test

import (
	"testing"

	"go.uber.org/goleak"

	"portico/membership/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), catalog.Options{Dir: dir, Name: "proxy-1", Key: make([]byte, catalog.KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func update(t testing.TB, c *catalog.Catalog, change func(tx *catalog.Tx) error) {
	t.Helper()
	if err := try(t, c, change); err != nil {
		t.Fatal(err)
	}
}
