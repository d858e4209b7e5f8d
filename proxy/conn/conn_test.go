package conn_test

import (
	"testing"

	"go.uber.org/goleak"

	"portico/proxy/conn"
	"portico/proxy/http1/http1test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConn(t *testing.T) { http1test.Run(t, conn.New) }

func TestPlain(t *testing.T) { http1test.Run(t, conn.NewPlain) }
