package conn_test

import (
	"testing"

	"portico/internal/race"
	"portico/proxy/conn"
	"portico/proxy/exchange/exchangetest"
)

func TestH2(t *testing.T) { exchangetest.RunH2(t, conn.New) }

func TestH2Plain(t *testing.T) { exchangetest.RunH2(t, conn.NewPlain) }

func TestH2AllocatesNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates; make test runs this without it")
	}
	exchangetest.RunH2Quiet(t, conn.New)
}

func TestH2Idle(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector has memory of its own; make test runs this without it")
	}
	exchangetest.RunH2Idle(t, conn.New, 16<<10)
}
