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

// What is embedded in the code is flat where it is stored and sent.
func TestSettingsAreFlat(t *testing.T) {
	data, err := json.Marshal(sites.Settings{Front: sites.Front{Hosts: []string{"a.test"}, Strip: true}, Limits: sites.Limits{FrontLimits: sites.FrontLimits{Connections: 7}, Files: 9}})
	if want := `{"hosts":["a.test"],"strip":true,"limits":{"connections":7,"files":9}}`; err != nil || string(data) != want {
		t.Errorf("%s, %v", data, err)
	}
}
