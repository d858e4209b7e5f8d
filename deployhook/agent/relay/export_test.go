package relay

// NewFeeding makes the way of a proxy's bytes to an instance.
var NewFeeding = newFeeding

// Answered says that the instance has sent something.
func (f *feeding) Answered() { f.answered() }

// Starved reports whether an instance that has ended was given nothing since its last byte.
func (f *feeding) Starved() bool { return f.starved() }
