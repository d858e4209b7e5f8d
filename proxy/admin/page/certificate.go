package page

import (
	"fmt"
	"time"

	"portico/proxy/admin/api"
)

type certView struct {
	C           api.Certificate
	Class, Ends string
}

func certOf(cert api.Certificate, now time.Time) certView {
	v := certView{C: cert, Class: "up", Ends: "–"}
	left := cert.Expiry.Sub(now)
	switch {
	case cert.Expiry.IsZero():
		v.Class = "nocheck"
	case left < 0:
		v.Ends, v.Class = cert.Expiry.Format("2006-01-02"), "down"
	default:
		v.Ends = fmt.Sprintf("%s (%d days)", cert.Expiry.Format("2006-01-02"), int(left/(24*time.Hour)))
		if left < 7*24*time.Hour {
			v.Class = "going-down"
		}
	}
	if cert.Error != "" {
		v.Class = "going-down"
	}
	return v
}
