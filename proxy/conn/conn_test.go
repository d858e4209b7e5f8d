package conn_test

import (
	"testing"

	"go.uber.org/goleak"

	"portico/proxy/conn"
	"portico/proxy/exchange/exchangetest"
	"portico/proxy/exchange/exchangetest/origins"
	"portico/proxy/exchange/exchangetest/streams"
)

func TestMain(m *testing.M) {
	if !streams.IdleClient() {
		goleak.VerifyTestMain(m)
	}
}

func TestConn(t *testing.T) { exchangetest.Run(t, conn.New) }

func TestPlain(t *testing.T) { exchangetest.Run(t, conn.NewPlain) }

// TestLate: no other test runs beside it, as it replaces the process's resolver.
func TestLate(t *testing.T) { exchangetest.RunLate(t, conn.New) }

func TestOrigins(t *testing.T) { origins.Run(t, conn.New) }

func TestOriginsPlain(t *testing.T) { origins.Run(t, conn.NewPlain) }
