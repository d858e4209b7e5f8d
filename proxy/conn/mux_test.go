package conn_test

import (
	"testing"

	"portico/proxy/conn"
	"portico/proxy/exchange/exchangetest/streams"
	"portico/tests/support/race"
)

func TestH2(t *testing.T) { streams.Run(t, conn.New) }

func TestH2Plain(t *testing.T) { streams.Run(t, conn.NewPlain) }

func TestH2AllocatesNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates; make test runs this without it")
	}
	streams.RunQuiet(t, conn.New)
}

func TestH2Idle(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector has memory of its own; make test runs this without it")
	}
	streams.RunIdle(t, conn.New, 16<<10)
}
