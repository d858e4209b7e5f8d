package tests

import (
	"os"
	"testing"

	"portico/internal/etcdtest"
	"portico/tests/harness"
)

func TestMain(m *testing.M) {
	etcdtest.Main()
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}
