// Package sites holds what can be set of a site: the settings with their names, units, defaults and
// bounds, and what is wrong with them. The catalog stores them, a site's portico.toml says them, and
// the proxy's file says what a site without an agent has of them.
//
// It knows neither the catalog nor files, so everybody may ask it.
package sites

import "errors"

// ErrInvalid reports a name or a value that cannot be.
var ErrInvalid = errors.New("invalid")
