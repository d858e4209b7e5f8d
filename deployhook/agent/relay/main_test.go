package relay_test

import (
	"testing"

	"go.uber.org/goleak"
)

// What a relay started ends with it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
