package client

import (
	"bytes"
	"strings"
	"testing"

	"portico/proxy/recent"
)

// TestExplainMarks: a request that its second try answered was marked as failed.
func TestExplainMarks(t *testing.T) {
	for want, e := range map[string]recent.Exchange{
		" ms\n":               {Status: 200},
		" ms  RETRIED\n":      {Status: 200, Retries: 1},
		" ms  SESSION LOST\n": {Status: 200, Retries: 1, Lost: "instance-exited"},
		" ms  FAILED\n":       {Status: 502, Retries: 1, Lost: "instance-exited", Failed: true},
	} {
		var out bytes.Buffer
		if err := printExchange(&out, &e); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%+v is told as %q: %v", e, out.String(), err)
		}
	}
}
