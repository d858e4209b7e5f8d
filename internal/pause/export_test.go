package pause

// StrokeAt is StrokeAfter at a time since the clock began.
var StrokeAt = stroke
