package sites_test

import (
	"encoding/json"
	"testing"

	"portico/conf/sites"
)

// What does not fit is told by its key, wherever the field stands in the code.
func TestMisfitsAreToldByTheirKeys(t *testing.T) {
	for override, want := range map[string]string{
		`{"policy":1}`:                   `invalid: setting "policy" cannot be a number`,
		`{"health":{"rise":"many"}}`:     `invalid: setting "health.rise" cannot be a string`,
		`{"limits":{"connections":"x"}}`: `invalid: setting "limits.connections" cannot be a string`,
		`{"limits":{"files":"x"}}`:       `invalid: setting "limits.files" cannot be a string`,
		`{"kind":1}`:                     `invalid: setting "kind" cannot be a number`,
		`{"Front":{}}`:                   `invalid: unknown setting "Front"`,
	} {
		if _, err := sites.Join(sites.Settings{}, json.RawMessage(override)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", override, err, want)
		}
	}
}
