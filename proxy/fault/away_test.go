package fault

import (
	"net/http"
	"testing"

	"portico/balancer"
	"portico/proxy/origin"
)

// TestBrokenOffWhileItsInstanceIsAway holds what a visitor gets whose connection ended while the instance stood still:
// the page that asks again where that repeats nothing, else the truth.
func TestBrokenOffWhileItsInstanceIsAway(t *testing.T) {
	for _, c := range []struct {
		method string
		none   balancer.None
		last   error
		status int
	}{
		{http.MethodGet, balancer.NoneAway, nil, http.StatusServiceUnavailable},
		{http.MethodGet, balancer.NoneAway, ErrBrokeOff, http.StatusServiceUnavailable},
		{http.MethodHead, balancer.NoneAway, ErrBrokeOff, http.StatusServiceUnavailable},
		{http.MethodPut, balancer.NoneAway, ErrBrokeOff, http.StatusBadGateway},
		{http.MethodPost, balancer.NoneAway, origin.ErrDial, http.StatusServiceUnavailable},
		{http.MethodGet, balancer.NoneDown, ErrBrokeOff, http.StatusBadGateway},
	} {
		f := NoInstance(&balancer.Choice{None: c.none}, c.method, c.last)
		if f.Status != c.status || f.kept != (c.status == http.StatusServiceUnavailable) || f.renews && !renews(c.method) {
			t.Errorf("%s, none %v, after %v: %d, kept %v, renews %v", c.method, c.none, c.last, f.Status, f.kept, f.renews)
		}
	}
}
