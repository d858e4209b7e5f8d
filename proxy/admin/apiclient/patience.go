package apiclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"portico/internal/pause"
	"portico/internal/refusal"
	"portico/proxy/admin/api"
)

// Patience says how a client's reads outlive a proxy that is away: it restarts, its machine does, or it
// says 503. All commands that wait go by it. The zero value waits for nobody.
type Patience struct {
	Until   time.Time     // when the whole wait is over, zero: never; no read of one answer outlasts it
	Absence time.Duration // how long the proxy may be away at a stretch; 0: until then

	// Tell is called when the proxy has been away for a moment and again with each try, and with nil
	// when it is back. Nil tells nobody.
	Tell func(*Away)
}

// Away is a proxy that does not answer. As an error it is a wait that was given up.
type Away struct {
	Base  string    // https://host:port
	Since time.Time // of the first try that failed
	Err   error     // of the last one; nil while the first one waits for its answer
}

// For is how long the proxy has been away.
func (a *Away) For() time.Duration { return time.Since(a.Since) }

// Error says which proxy is away, since when and why.
func (a *Away) Error() string {
	text := fmt.Sprintf("the proxy at %s has not answered for %v", strings.TrimPrefix(a.Base, "https://"), a.For().Round(time.Second))
	if why := a.why(); why != "" {
		text += " (" + why + ")"
	}
	return text
}

// why is the last error without the address, which is said before.
func (a *Away) why() string {
	var u *unreached
	var told *refusal.Error
	var op *net.OpError
	switch {
	case errors.As(a.Err, &op):
		return op.Err.Error()
	case a.Err == nil, errors.Is(a.Err, context.DeadlineExceeded):
		return "it takes connections and says nothing"
	case errors.As(a.Err, &u):
		return u.err.Error()
	case errors.As(a.Err, &told):
		return told.Message
	}
	return a.Err.Error()
}

// Unwrap returns what the last try ended with.
func (a *Away) Unwrap() error { return a.Err }

// Hint says what to look at.
func (a *Away) Hint() string {
	return "look at that proxy, or ask another one: PORTICO_ADDR and PORTICO_TOKEN, or portico login"
}

const (
	readAgain = 500 * time.Millisecond // between two tries of a patient client
	awayFrom  = 2 * time.Second        // before that nobody is told: a restart takes a second
	mute      = 2*api.Heartbeat + 5*time.Second
)

// Patient returns a client of the same connections whose reads outlive a proxy that is away.
func (c *Client) Patient(p Patience) *Client {
	patient := *c
	patient.patience = p
	return &patient
}

// absence keeps how long the proxy has been away during one wait.
type absence struct {
	Patience
	base  string
	since time.Time // zero: it is there
	told  bool
}

func (c *Client) absence() *absence { return &absence{Patience: c.patience, base: c.base} }

// again waits for the next try after err, or says why there is none.
func (a *absence) again(ctx context.Context, began time.Time, err error) error {
	if a.since.IsZero() {
		a.since = began
	}
	away := &Away{Base: a.base, Since: a.since, Err: err}
	switch {
	case ctx.Err() != nil || !isAway(err):
		return err
	case !a.Until.IsZero() && time.Now().Add(readAgain).After(a.Until), a.Absence > 0 && away.For() > a.Absence:
		return away
	case a.Until.IsZero() && a.Absence == 0:
		return err
	}
	a.tell(away)
	if pause.For(ctx, readAgain) != nil {
		return ctx.Err()
	}
	return nil
}

func (a *absence) tell(away *Away) {
	if a.Tell != nil && away.For() >= awayFrom {
		a.told = true
		a.Tell(away)
	}
}

// heard notes a sign of life, which does not end the absence: what follows may fail as before.
func (a *absence) heard() {
	if a.told {
		a.told = false
		a.Tell(nil)
	}
}

// back notes that the proxy does what it is asked for.
func (a *absence) back() {
	a.heard()
	a.since = time.Time{}
}

// ride calls try until the proxy has answered, for as long as the client's patience lasts.
func (c *Client) ride(ctx context.Context, try func(context.Context) error) error {
	for a := c.absence(); ; {
		began := time.Now()
		err := a.attempt(ctx, try)
		if err == nil {
			a.back()
			return nil
		}
		if err := a.again(ctx, began, err); err != nil {
			return err
		}
	}
}

// attempt makes one try, not beyond the end of the wait, and tells when it takes long.
func (a *absence) attempt(ctx context.Context, try func(context.Context) error) error {
	if !a.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, a.Until)
		defer cancel()
	}
	if a.Tell == nil {
		return try(ctx)
	}
	began, ended := time.Now(), make(chan error, 1)
	go func() { ended <- try(ctx) }()
	slow := time.NewTimer(2 * awayFrom)
	defer slow.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-slow.C:
			if a.since.IsZero() {
				a.since = began
			}
			a.tell(&Away{Base: a.base, Since: a.since})
			slow.Reset(awayFrom)
		}
	}
}

// errBroke is the end of an answer in its middle.
var errBroke = errors.New("the answer broke off")

// IsAway reports whether err may be over when the proxy is there again: it was not reached, or went away in the middle of an answer.
func IsAway(err error) bool { return isAway(err) || errors.Is(err, errBroke) }

// isAway reports whether err may be over when the proxy is there again.
func isAway(err error) bool {
	var e *refusal.Error
	var u *unreached
	return errors.As(err, &u) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errEventsBroke) ||
		errors.As(err, &e) && e.Status == http.StatusServiceUnavailable
}
