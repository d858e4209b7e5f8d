package api

// Forecast says what an action would cut, before it is done: the answer of a
// changing request with dry_run=1.
type Forecast struct {
	Action    string         `json:"action"`
	Object    string         `json:"object"`
	Sessions  int64          `json:"sessions"`         // live sessions that would lose their instance; a drain loses none
	Recent    int64          `json:"recent"`           // of these, used in the last five minutes
	Keeps     int64          `json:"keeps"`            // live sessions that stay where they are until they end
	Visits    int64          `json:"visits,omitempty"` // of static sites: any other server continues them, so they count in neither
	InFlight  int64          `json:"in_flight"`        // requests running there now
	Instances []ForecastLine `json:"instances"`
	Left      int            `json:"left"` // instances of the touched sites that would still take new sessions
	Message   string         `json:"message"`

	// Recounting reports that the proxy has not been up for long: there may be more
	// sessions than it has seen.
	Recounting bool     `json:"recounting,omitempty"`
	Notes      []string `json:"notes,omitempty"` // what else to know before, such as memory that is short
}

// ForecastLine is one instance that an action touches.
type ForecastLine struct {
	Site     string `json:"site"`
	Instance string `json:"instance"`
	Member   string `json:"member"`
	Sessions int64  `json:"sessions"`
	Recent   int64  `json:"recent"`
	InFlight int64  `json:"in_flight"`
}
