package pause

// TickAt is TickAfter at a time since the clock began.
var TickAt = tick
