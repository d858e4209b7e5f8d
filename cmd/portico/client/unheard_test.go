package client

import (
	"strings"
	"testing"
	"time"

	"portico/deployhook"
	"portico/proxy/admin/api"
)

// TestStreamsOfALostLineAreTold holds that a drain which waits for an old process says so, and what can be done.
func TestStreamsOfALostLineAreTold(t *testing.T) {
	now := time.Now()
	old := deployhook.Unheard{Proxy: "proxy-1", PID: 77, Streams: 2, Until: now.Add(time.Hour)}
	told := drainText(deployhook.Drain{Loss: deployhook.Loss{Recounting: true, Unheard: []deployhook.Unheard{old}}}, now)
	for _, want := range []string{"no session left; 2 streams of an old process of proxy-1 (pid 77)", "ends in 1h0m0s at most (proxy.timeouts.tunnels)", "kill 77 there"} {
		if !strings.Contains(told, want) {
			t.Errorf("a drain that waits for the streams does not say %q: %s", want, told)
		}
	}
	if text := unheardText(api.Predecessor{PID: 77, Streams: 2, Since: now, Until: old.Until, Unheard: true}); !strings.Contains(text, "drains wait") {
		t.Errorf("portico members says %q", text)
	}
}
