package proxy

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
		{http.MethodGet, balancer.NoneAway, errBrokeOff, http.StatusServiceUnavailable},
		{http.MethodHead, balancer.NoneAway, errBrokeOff, http.StatusServiceUnavailable},
		{http.MethodPut, balancer.NoneAway, errBrokeOff, http.StatusBadGateway},
		{http.MethodPost, balancer.NoneAway, origin.ErrDial, http.StatusServiceUnavailable},
		{http.MethodGet, balancer.NoneDown, errBrokeOff, http.StatusBadGateway},
	} {
		f := noInstance(&balancer.Choice{None: c.none}, c.method, c.last)
		if f.status != c.status || f.kept != (c.status == http.StatusServiceUnavailable) || f.renews && !renews(c.method) {
			t.Errorf("%s, none %v, after %v: %d, kept %v, renews %v", c.method, c.none, c.last, f.status, f.kept, f.renews)
		}
	}
}
