package sites

import (
	"encoding/json"
	"maps"
	"strings"
)

// Hidden stands where a value of a site's environment is not shown.
const Hidden = "(hidden)"

// HideEnv returns the settings with every value of the environment hidden.
func (s Settings) HideEnv() Settings {
	if len(s.Env) > 0 {
		s.Env = maps.Clone(s.Env)
		for name := range s.Env {
			s.Env[name] = Hidden
		}
	}
	return s
}

// HideOverrideEnv does the same for what operators have set, or for a change of it. What is
// no JSON object comes back as nil.
func HideOverrideEnv(override json.RawMessage) json.RawMessage {
	if len(override) == 0 {
		return override
	}
	var object map[string]any
	if json.Unmarshal(override, &object) != nil {
		return nil
	}
	for key, env := range object {
		if !strings.EqualFold(key, "env") { // as the decoder of settings reads it
			continue
		}
		values, ok := env.(map[string]any)
		if !ok && env != nil {
			object[key] = Hidden
		}
		for name, v := range values {
			if v != nil { // null takes a value back
				values[name] = Hidden
			}
		}
	}
	out, err := json.Marshal(object)
	if err != nil {
		return nil
	}
	return out
}
