package sites

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Join lays override, a JSON object with any subset of the fields, over the
// manifest's settings. Objects are joined field by field, lists are replaced
// whole. An unknown field is an error.
func Join(manifest Settings, override json.RawMessage) (Settings, error) {
	out := clone(&manifest)
	if len(bytes.TrimSpace(override)) == 0 {
		return out, nil
	}
	d := json.NewDecoder(bytes.NewReader(override))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		return Settings{}, fmt.Errorf("%w: %s", ErrInvalid, misfit(err))
	}
	if d.More() {
		return Settings{}, fmt.Errorf("%w: settings: more than one JSON value", ErrInvalid)
	}
	return out, nil
}

// embedded takes out of a path what the decoder puts there: the names of embedded structs, which are no keys.
var embedded = strings.NewReplacer("Front.", "", "FrontLimits.", "")

// misfit says what a decoder of settings found in words without Go in them.
func misfit(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Sprintf("setting %q cannot be a %s", embedded.Replace(wrong.Field), wrong.Value)
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if name, ok := strings.CutPrefix(text, "unknown field "); ok {
		return "unknown setting " + name
	}
	return "settings: " + text
}

// MergeOverride applies a change to what operators have set, as RFC 7386 says: a
// member of patch replaces, null takes away, objects are merged. The outcome is
// nil when nothing is left.
func MergeOverride(override, patch json.RawMessage) (json.RawMessage, error) {
	var change map[string]any
	if err := json.Unmarshal(patch, &change); err != nil || change == nil {
		return nil, fmt.Errorf("%w: settings must be a JSON object", ErrInvalid)
	}
	base := map[string]any{}
	if len(override) > 0 {
		if err := json.Unmarshal(override, &base); err != nil {
			return nil, fmt.Errorf("%w: stored settings: %w", ErrInvalid, err)
		}
	}
	mergePatch(base, change)
	if len(base) == 0 {
		return nil, nil
	}
	return json.Marshal(base)
}

func mergePatch(base, change map[string]any) {
	for k, v := range change {
		sub, isObject := v.(map[string]any)
		switch {
		case v == nil:
			delete(base, k)
		case isObject:
			into, ok := base[k].(map[string]any)
			if !ok {
				into = map[string]any{}
			}
			mergePatch(into, sub)
			base[k] = into
			if len(into) == 0 {
				delete(base, k)
			}
		default:
			base[k] = v
		}
	}
}
