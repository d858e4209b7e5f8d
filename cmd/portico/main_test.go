package main

import (
	"strings"
	"testing"

	"portico/internal/exitcode"
)

func TestUsageNamesSubcommands(t *testing.T) {
	var stdout, stderr strings.Builder
	code := run(t.Context(), []string{"account", "list"}, nil, strings.NewReader(""), &stdout, &stderr)
	if code != exitcode.Usage || !strings.Contains(stderr.String(), "portico account add|") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}
