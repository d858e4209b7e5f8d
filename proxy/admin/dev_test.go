package admin_test

import (
	"fmt"
	"os"
	"os/signal"
	"testing"
)

func TestDevServe(t *testing.T) {
	if os.Getenv("SERVE") == "" {
		t.Skip()
	}
	e := start(t, devOptions)
	fmt.Println("URL", e.server.URL)
	_ = os.WriteFile("/tmp/admin-url", []byte(e.server.URL), 0o644)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt)
	<-ch
}
