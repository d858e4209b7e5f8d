package admin

import (
	"fmt"
	"time"
)

// Text says how the certificate stands.
func (c *Certificate) Text(now time.Time) string {
	switch {
	case c.State == "none":
		return "none: " + c.Error
	case c.State == "valid" && c.Expiry.IsZero():
		return "valid: the cluster's authority issues it when a visitor comes"
	case c.Expiry.IsZero() && c.Error == "":
		return "https follows: a certificate is being asked for"
	case c.Expiry.IsZero():
		return "https follows" + c.again(now) + "; last failure: " + c.Error
	}
	text := c.State + ", until " + c.Expiry.UTC().Format(time.DateOnly)
	if c.State != "valid" {
		text = fmt.Sprintf("%s, until %s (%d days)", c.State, c.Expiry.UTC().Format(time.DateOnly), int(c.Expiry.Sub(now).Hours()/24))
	}
	if c.Issuer != "" {
		text += ", by " + c.Issuer
	}
	if c.Error != "" {
		text += "; last failure: " + c.Error + c.again(now)
	}
	return text
}

// again says when the next attempt is due.
func (c *Certificate) again(now time.Time) string {
	left := c.Next.Sub(now)
	if c.Next.IsZero() || left <= 0 {
		return ""
	}
	return ", tried again in " + left.Round(time.Second).String()
}
