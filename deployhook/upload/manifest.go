package upload

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"

	"portico/conf"
	"portico/conf/sites"
)

// DecodeManifest reads a site's portico.toml into settings. Where it cannot be read as
// it stands, the error, a conf.Mistakes, also tells what is wrong with the values that could
// be read, so that everything is told in one go. Those of a file that reads well are
// judged later, with the operators' overrides.
func DecodeManifest(name string, data []byte, settings *sites.Settings) error {
	err := conf.Decode(name, data, settings)
	var list conf.Mistakes
	if !errors.As(err, &list) {
		return err
	}
	return conf.Locate(name, data, list, mistakesOf(settings.Validate()))
}

// mistakesOf turns what is wrong with settings into mistakes that can be given a place.
func mistakesOf(found sites.Mistakes) conf.Mistakes {
	var list conf.Mistakes
	for _, m := range found {
		list = append(list, conf.Mistake{Key: m.Key, Message: m.Error()})
	}
	return list
}

// about returns whether a mistake is one of the setting at key, or of an element of that list.
func about(key string) func(sites.Mistake) bool {
	return func(m sites.Mistake) bool {
		name, _, _ := strings.Cut(m.Key, "[")
		return name == key
	}
}

// sourced tells of everything that is wrong with a site's settings where it stands: the line of
// the manifest, the flag, or what operators have set over it.
func (u *Unpacked) sourced(found sites.Mistakes, q *Request, override json.RawMessage) conf.Mistakes {
	var set map[string]any
	_ = json.Unmarshal(override, &set) // it could be joined, so it can be read
	list := mistakesOf(found)
	for i, m := range list {
		key, _, _ := strings.Cut(m.Key, "[")
		switch {
		case overridden(set, key):
			list[i].Source = "portico sites set " + q.Site + " " + key + "=…"
		case key == "hosts" && len(q.Hosts) > 0:
			list[i].Source = "--host"
		case key == "path" && q.Path != "":
			list[i].Source = "--path"
		case key == "kind" && q.Kind != "":
			list[i].Source = "kind"
		case u.source == nil && key != "":
			list[i].Source = "the archive"
		}
	}
	return conf.Locate(cmp.Or(u.place, manifestName), u.source, nil, list)
}

// overridden reports whether operators have set the setting at key, such as "health.path".
func overridden(set map[string]any, key string) bool {
	name, rest, deeper := strings.Cut(key, ".")
	value, ok := set[name]
	if section, isTable := value.(map[string]any); ok && deeper && isTable {
		return overridden(section, rest)
	}
	return ok
}
