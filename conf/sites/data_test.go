package sites_test

import (
	"strings"
	"testing"

	"portico/conf/sites"
)

// A data folder that is called as the folder in which the agent makes data folders was tried
// for a minute and refused with the words of the system.
func TestDataFoldersKeepOffPorticosNames(t *testing.T) {
	for name, ok := range map[string]bool{
		".portico-seed": false, "uploads/.portico-seed": false, ".Portico-Seed/x": false, ".portico-removed-A": false,
		".portico": true, "portico-seed": true, "up.portico-seed": true, ".cache": true,
	} {
		err := sites.Settings{Kind: sites.KindStatic, Data: []string{name}}.Validate()
		if ok != (len(err) == 0) || !ok && !strings.Contains(err.Error(), "portico's own") {
			t.Errorf("data = [%q]: %v", name, err)
		}
	}
}
