package sites_test

import (
	"testing"

	"portico/conf/sites"
)

// TestProtocols: who may speak HTTP/2 does so when the setting says it, and no other protocol has a name.
func TestProtocols(t *testing.T) {
	for _, tt := range []struct {
		protocol, connection string
		kind                 sites.Kind
		right                bool
	}{
		{"", "", "", true}, {"http/1.1", "private", "", true}, {"http/1.1", "", sites.KindStatic, true},
		{"h2c", "", "", true}, {"h2c", "shared", "", true}, {"h2c", "private", "", false},
		{"h2c", "", sites.KindStatic, false}, {"h2c", "", sites.KindTomcat, false}, {"h2", "", "", false}, {"grpc", "", "", false},
	} {
		set := sites.Settings{Kind: tt.kind}
		set.Protocol, set.Session.Connection = tt.protocol, tt.connection
		if found := set.Validate(); (len(found) == 0) != tt.right {
			t.Errorf("%+v: %v", tt, found)
		}
	}
}
