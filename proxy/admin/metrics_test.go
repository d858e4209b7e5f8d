package admin_test

import (
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Prometheus reads all of /metrics, and finds there what its dashboards ask of any process.
func TestMetricsAreReadByPrometheus(t *testing.T) {
	e := start(t, nil)
	resp, text := e.request("GET", "/metrics", e.tokens["viewer"], "")
	if resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"portico_build_info", "portico_pool_sessions", "go_goroutines", "go_memstats_alloc_bytes", "go_gc_duration_seconds"} {
		if families[name] == nil {
			t.Errorf("/metrics has no %s", name)
		}
	}
}
