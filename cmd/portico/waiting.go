package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"portico/proxy/admin"
)

// One rule for each command that waits for the cluster: it outlives a proxy that is away, says so, and ends
// when its own time is over. Where none was given the proxy may be away for proxyAway at a stretch.

// proxyAway is enough for the restart of a machine. What is waited for goes on meanwhile.
const proxyAway = 5 * time.Minute

// waitUntil is the patience of a command with a limit of its own.
func waitUntil(until time.Time, tell func(*admin.Away)) admin.Patience {
	return admin.Patience{Until: until, Tell: tell}
}

// waitAlong is the patience of one without.
func waitAlong(tell func(*admin.Away)) admin.Patience {
	return admin.Patience{Absence: proxyAway, Tell: tell}
}

// tellAway tells on the line that the proxy is away, and what happens meanwhile.
func tellAway(line *statusLine, meanwhile string) func(*admin.Away) {
	return func(a *admin.Away) { line.away(a, meanwhile) }
}

// tellAwayJSON does so on the error output, an object a line: the output is the result's.
func tellAwayJSON(cmd *cobra.Command, meanwhile string) func(*admin.Away) {
	return tellAway(&statusLine{out: warnings{json.NewEncoder(cmd.ErrOrStderr())}, width: func() int { return 0 }}, meanwhile)
}

// warnings writes each line as a warning in JSON.
type warnings struct{ enc *json.Encoder }

func (w warnings) Write(line []byte) (int, error) {
	return len(line), w.enc.Encode(map[string]string{"warning": string(line[:max(0, len(line)-1)])})
}

var _ io.Writer = warnings{}

// away shows that the proxy does not answer; nil: it does again. In a pipe that is a line at once, and one
// a minute after it.
func (l *statusLine) away(a *admin.Away, meanwhile string) {
	if a == nil {
		l.key, l.noted = "", time.Time{}
		if !l.tty {
			l.set("the proxy answers again")
		}
		return
	}
	key := fmt.Sprint("away ", int(a.For()/noteGap))
	if key == "away 0" && l.key != key {
		l.noted = time.Time{}
	}
	l.note(key, awayText(a, meanwhile), time.Now())
}

func awayText(a *admin.Away, meanwhile string) string {
	return fmt.Sprintf("%v; %s", a, meanwhile)
}
