package api

import (
	"time"
)

// Heartbeat keeps a silent stream of events alive through what lies between.
const Heartbeat = 15 * time.Second

// Beat is the line that does so, a comment of the stream.
const Beat = ": still here"
