package conn_test

import (
	"testing"

	"go.uber.org/goleak"

	"portico/proxy/conn"
	"portico/proxy/exchange/exchangetest"
)

func TestMain(m *testing.M) {
	if !exchangetest.IdleClient() {
		goleak.VerifyTestMain(m)
	}
}

func TestConn(t *testing.T) { exchangetest.Run(t, conn.New) }

func TestPlain(t *testing.T) { exchangetest.Run(t, conn.NewPlain) }

// TestLate: no other test runs beside it, as it replaces the process's resolver.
func TestLate(t *testing.T) { exchangetest.RunLate(t, conn.New) }
