package proxies_test

import (
	"testing"
	"time"

	"portico/proxy/admin/api"
	"portico/proxy/admin/proxies"
)

// A session that two proxies have seen stands in the list once, where it was seen last,
// and what an operator did to it at either holds.
func TestListsOfTwoProxies(t *testing.T) {
	at := func(min int) time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(min) * time.Minute) }
	a := api.SessionList{Site: "shop", Total: 2, Sessions: []api.SessionInfo{
		{ID: "1", Instance: "x", Used: at(5)}, {ID: "2", Instance: "x", Used: at(1), Moving: true},
	}}
	b := api.SessionList{Site: "shop", Total: 2, Recounting: true, Sessions: []api.SessionInfo{
		{ID: "2", Instance: "y", Used: at(3)}, {ID: "3", Instance: "y", Used: at(2)},
	}}
	got := proxies.Merged(a, b)
	if got.Total != 3 || !got.Recounting || len(got.Sessions) != 3 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []api.SessionInfo{{ID: "1", Instance: "x"}, {ID: "2", Instance: "y", Moving: true}, {ID: "3", Instance: "y"}} {
		if in := got.Sessions[i]; in.ID != want.ID || in.Instance != want.Instance || in.Moving != want.Moving {
			t.Errorf("line %d is %+v, want %+v", i, in, want)
		}
	}
}
