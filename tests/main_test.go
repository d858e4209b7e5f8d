package tests

import (
	"os"
	"testing"

	"portico/tests/harness"
	"portico/tests/support/etcdtest"
)

func TestMain(m *testing.M) {
	etcdtest.Main()
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}
