package figures

import (
	"encoding/json"
	"math"
	"time"
)

// Times are how long something took.
type Times struct {
	Mean time.Duration `json:"-"`
	P50  Millis        `json:"p50_ms"` // of half of the values, none was longer
	P99  Millis        `json:"p99_ms"`
	Max  Millis        `json:"max_ms"`
}

// Millis is a duration that JSON has in milliseconds, to the microsecond.
type Millis time.Duration

// Std returns the duration.
func (m Millis) Std() time.Duration { return time.Duration(m) }

// String returns the duration as people read it.
func (m Millis) String() string { return m.Std().String() }

// Float returns the milliseconds, to the microsecond.
func (m Millis) Float() float64 { return float64(m.Std().Microseconds()) / 1000 }

// MarshalJSON implements json.Marshaler.
func (m Millis) MarshalJSON() ([]byte, error) { return json.Marshal(m.Float()) }

// UnmarshalJSON implements json.Unmarshaler.
func (m *Millis) UnmarshalJSON(b []byte) error {
	var ms float64
	if err := json.Unmarshal(b, &ms); err != nil {
		return err
	}
	*m = Millis(time.Duration(math.Round(ms*1000)) * time.Microsecond)
	return nil
}
