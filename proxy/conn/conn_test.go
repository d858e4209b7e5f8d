package conn_test

import (
	"testing"

	"go.uber.org/goleak"

	"portico/proxy/conn"
	"portico/proxy/http1/http1test"
)

func TestMain(m *testing.M) {
	if !http1test.IdleClient() {
		goleak.VerifyTestMain(m)
	}
}

func TestConn(t *testing.T) { http1test.Run(t, conn.New) }

func TestPlain(t *testing.T) { http1test.Run(t, conn.NewPlain) }

// TestLate: no other test runs beside it, as it replaces the process's resolver.
func TestLate(t *testing.T) { http1test.RunLate(t, conn.New) }
