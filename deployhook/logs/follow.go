package logs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"portico/internal/pause"
	"portico/membership/catalog"
)

const (
	// againAfter is between two attempts to follow the log of a member.
	againAfter = 2 * time.Second
	// silenceTime is for how long a member may give no sign of life, in a log or elsewhere, before its log is asked for anew: its reports
	// come every ten seconds. One that stands still, and a line that is cut, end no connection.
	silenceTime = 25 * time.Second
	// mostLines is how many lines of one instance are asked for after a break; it is the most that agents give.
	mostLines = 10_000
)

var errSilent = fmt.Errorf("nothing was heard of it for %v", silenceTime)

// follow copies one member's lines for as long as somebody reads them. It outlives an agent that restarts, stands still or is cut
// off: what was written meanwhile comes when it is back.
func (r *Reader) follow(ctx context.Context, out *lineWriter, m catalog.Member, q Query) {
	last, began := out.follows(m.Name), time.Now()
	for told := false; ; {
		err := r.watched(ctx, out, m, q, func() { told = false })
		if ctx.Err() != nil || out.gone() || errors.Is(err, errNoLog) {
			return
		}
		if err != nil && !told {
			told = true
			out.unread(m.Name, err.Error()+"; its lines come when it can")
		}
		if pause.For(ctx, againAfter) != nil {
			return
		}
		now := r.Catalog.View().Members[m.Name]
		if now == nil || now.Admission != catalog.Accepted {
			return
		}
		m = *now
		switch at := out.breaks(last); {
		case !at.IsZero():
			q.Since, q.Lines = at.Add(-Overlap), mostLines
		case q.Lines == 0: // only new ones, of which none has come yet
			q.Since, q.Lines = began, mostLines
		}
	}
}

// watched is read that ends when nothing is heard of the member any more. One of which nothing has been heard yet is read
// as long as it can be: it may reach other proxies only.
func (r *Reader) watched(ctx context.Context, out *lineWriter, m catalog.Member, q Query, seen func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	defer func() { cancel(nil); <-ended }()
	go func() {
		defer close(ended)
		endSilent(ctx, cancel, func() bool { return r.Silence(m.Name) > silenceTime })
	}()
	return r.read(ctx, out, m, q, seen)
}

// endSilent cancels once silent is true and was not before, at the beginning or since: who comes back while it is asked is watched as well.
func endSilent(ctx context.Context, cancel context.CancelCauseFunc, silent func() bool) {
	for heard := false; ; {
		switch now := silent(); {
		case !now:
			heard = true
		case heard:
			cancel(errSilent)
			return
		}
		if pause.For(ctx, againAfter) != nil {
			return
		}
	}
}
