package figures

import "encoding/json"

// Responses are final answers by the class of their status.
type Responses struct {
	Status1xx   uint64 `json:"1xx"`
	Status2xx   uint64 `json:"2xx"`
	Status3xx   uint64 `json:"3xx"`
	Status4xx   uint64 `json:"4xx"`
	Status5xx   uint64 `json:"5xx"`
	StatusOther uint64 `json:"other"`
}

// Causes is how often something happened, by its cause. As JSON it has those
// that happened at all.
type Causes map[string]uint64

// IsZero reports whether nothing happened that has a cause.
func (c Causes) IsZero() bool { return len(c.happened()) == 0 }

// MarshalJSON implements json.Marshaler.
func (c Causes) MarshalJSON() ([]byte, error) { return json.Marshal(c.happened()) }

func (c Causes) happened() map[string]uint64 {
	out := map[string]uint64{}
	for cause, n := range c {
		if n > 0 && cause != "" {
			out[cause] = n
		}
	}
	return out
}
