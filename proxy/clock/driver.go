// Package clock tells the time to the data path: cheaply to requests, and to the balancer only after
// it was told that the system's clock was set.
package clock

import "time"

// kept is how soon a step of the system's clock is noticed.
const kept = 10 * time.Millisecond

// Driver knows the time of day by the driver's clock, which is read once for many
// requests. The system's takes two readings, of the time and of the monotonic clock. It
// may be ahead by what the driver's is behind: less than a turn of a loop.
type Driver struct {
	read int64 // of the driver's clock when wall was read; 0: never
	wall time.Time
}

// At returns the time of day when the driver's clock showed now.
func (c *Driver) At(now int64) time.Time {
	d := time.Duration(now - c.read)
	if c.read == 0 || d < 0 || d > kept {
		c.read, c.wall, d = now, time.Now(), 0
	}
	return c.wall.Add(d)
}
