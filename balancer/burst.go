package balancer

// bursts remembers for a moment where a visitor without a cookie was sent.
type bursts struct{}

func newBursts() *bursts { return &bursts{} }
