package loop_test

import (
	"testing"

	"portico/proxy/http1/http1test"
)

// TestLate: no other test runs beside it, as it replaces the process's resolver.
func TestLate(t *testing.T) { http1test.RunLate(t, loops(1)) }
