package sticky

// Names of fields that carry meaning between portico and a site's processes.
const (
	// SessionLostHeader is on the first request that reaches an instance after
	// a visitor had to leave the one that held the session:
	// "cause=instance-down". It is always removed from what clients send.
	SessionLostHeader = "Portico-Session-Lost"

	// SessionEndHeader is what an application answers with when it has ended its session,
	// with any value: the visitor may begin the next one elsewhere. It is not passed on.
	SessionEndHeader = "Portico-Session-End"

	// SessionEndField is the same as fields are looked up.
	SessionEndField = "portico-session-end"
)
