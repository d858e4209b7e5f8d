package sites

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"portico/internal/units"
)

// shape are the settings that an instance gets at its start and keeps until its end. A site
// that changes one of them needs other instances, so the change is a deploy of the same files.
type shape struct {
	Kind   Kind
	Run    []string
	Public string
	Data   []string
	User   string
	Env    map[string]string
	Hook   Hook
	Speaks string // the protocol
	Path   string // of a Tomcat site alone, which is installed there

	Memory           units.Size
	CPU              float64
	Files, Processes int
}

// shapedBy are the same settings by their names in what operators set.
var shapedBy = []string{"kind", "run", "public", "data", "user", "env", "hook", "protocol"}

// shapedByLimits are those of the section limits.
var shapedByLimits = []string{"memory", "cpu", "files", "processes"}

// shape returns what of the settings, with or without defaults, an instance keeps.
func (s Settings) shape() shape {
	s = s.WithDefaults("")
	out := shape{
		Kind: s.Kind, Run: s.Run, Public: s.Public, Data: s.Data, User: s.User, Env: s.Env, Hook: s.Hook, Speaks: s.Protocol,
		Memory: s.Limits.Memory, CPU: s.Limits.CPU, Files: s.Limits.Files, Processes: s.Limits.Processes,
	}
	if s.Kind == KindTomcat {
		out.Path = s.Path
	}
	return out
}

// SameShape reports whether an instance that was started with s can go on with other.
func (s Settings) SameShape(other Settings) bool {
	a, errA := json.Marshal(s.shape())
	b, errB := json.Marshal(other.shape())
	return errA == nil && errB == nil && string(a) == string(b)
}

// MergeShape returns override with the settings of the process as they are in frozen.
func MergeShape(override, frozen json.RawMessage) (json.RawMessage, error) {
	into, errInto := fields(override)
	from, errFrom := fields(frozen)
	if err := errors.Join(errInto, errFrom); err != nil {
		return nil, err
	}
	limits, errInto := fields(into["limits"])
	fromLimits, errFrom := fields(from["limits"])
	if err := errors.Join(errInto, errFrom); err != nil {
		return nil, err
	}
	take(into, from, shapedBy)
	take(limits, fromLimits, shapedByLimits)
	delete(into, "limits")
	if len(limits) > 0 {
		data, err := json.Marshal(limits)
		if err != nil {
			return nil, err
		}
		into["limits"] = data
	}
	if len(into) == 0 {
		return nil, nil
	}
	return json.Marshal(into)
}

// fields are the members of a JSON object, which may be missing.
func fields(object json.RawMessage) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	if len(object) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(object, &out); err != nil {
		return nil, fmt.Errorf("%w: stored settings: %w", ErrInvalid, err)
	}
	return out, nil
}

// take replaces the named fields of into by those of from, whatever their case: the decoder
// of settings does not mind it.
func take(into, from map[string]json.RawMessage, names []string) {
	named := func(key string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, key) })
	}
	for key := range into {
		if named(key) {
			delete(into, key)
		}
	}
	for key, value := range from {
		if named(key) {
			into[key] = value
		}
	}
}

// StoredOverride makes "nothing is set" something that is stored.
func StoredOverride(override json.RawMessage) json.RawMessage {
	if len(override) == 0 {
		return json.RawMessage("{}")
	}
	return override
}
