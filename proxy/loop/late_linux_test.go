package loop_test

import (
	"testing"

	"portico/proxy/exchange/exchangetest"
)

// TestLate: no other test runs beside it, as it replaces the process's resolver.
func TestLate(t *testing.T) { exchangetest.RunLate(t, loops(1)) }
