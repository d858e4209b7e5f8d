package exchangetest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"

	"portico/proxy/exchange/exchangetest/rig"
)

func tunnel(t *testing.T, mk rig.Maker) {
	h := rig.With(rig.Echo(t))
	addr, _ := rig.Start(t, mk, rig.Options(h))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Upgrade+"early")
	rig.Expect(t, c, rig.Switched+"firstearly")
	for i := range 100 {
		m := fmt.Sprintf("message %d", i)
		_, _ = io.WriteString(c, m)
		rig.Expect(t, c, m)
	}
	big := bytes.Repeat([]byte("x"), 1<<20)
	go func() { _, _ = c.Write(big) }()
	rig.Expect(t, c, string(big))
	_ = c.Close()
	rig.Eventually(t, "the tunnel is recorded", func() bool { return len(h.Records()) == 1 })
}

func halfClose(t *testing.T, mk rig.Maker) {
	addr, _ := rig.Start(t, mk, rig.Options(rig.With(rig.Echo(t))))
	c := rig.Dial(t, addr)
	_, _ = io.WriteString(c, rig.Upgrade+"x")
	_ = c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	if want := rig.Switched + "firstxlast"; string(b) != want || err != nil {
		t.Errorf("got %q %v, want %q", b, err, want)
	}
}
