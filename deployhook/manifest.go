package deployhook

import (
	"errors"

	"portico/conf"
	"portico/membership/catalog"
)

// DecodeManifest reads a site's portico.toml into settings. Where it cannot be read as
// it stands, the error, a conf.Mistakes, also tells what is wrong with the values that could
// be read, so that everything is told in one go. Those of a file that reads well are
// judged later, with the operators' overrides.
func DecodeManifest(name string, data []byte, settings *catalog.Settings) error {
	err := conf.Decode(name, data, settings)
	var list conf.Mistakes
	if !errors.As(err, &list) {
		return err
	}
	for _, wrong := range settings.Validate() {
		list = append(list, conf.Mistake{Source: name, Message: wrong.Error()})
	}
	return list
}
