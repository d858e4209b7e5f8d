package screen

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"portico/proxy/admin/apiclient"
)

// away shows that the proxy does not answer; nil: it does again. In a pipe that is a line at once, and one
// a minute after it.
func (l *StatusLine) away(a *apiclient.Away, meanwhile string) {
	if a == nil {
		l.key, l.noted = "", time.Time{}
		if !l.Tty {
			l.Set("the proxy answers again")
		}
		return
	}
	key := fmt.Sprint("away ", int(a.For()/noteGap))
	if key == "away 0" && l.key != key {
		l.noted = time.Time{}
	}
	l.Note(key, awayText(a, meanwhile), time.Now())
}

func awayText(a *apiclient.Away, meanwhile string) string {
	return fmt.Sprintf("%v; %s", a, meanwhile)
}

// TellAway tells on the line that the proxy is away, and what happens meanwhile.
func TellAway(line *StatusLine, meanwhile string) func(*apiclient.Away) {
	return func(a *apiclient.Away) { line.away(a, meanwhile) }
}

// TellAwayJSON does so on the error output, an object a line: the output is the result's.
func TellAwayJSON(cmd *cobra.Command, meanwhile string) func(*apiclient.Away) {
	return TellAway(&StatusLine{out: warnings{json.NewEncoder(cmd.ErrOrStderr())}, width: func() int { return 0 }}, meanwhile)
}

// warnings writes each line as a warning in JSON.
type warnings struct{ enc *json.Encoder }

func (w warnings) Write(line []byte) (int, error) {
	return len(line), w.enc.Encode(map[string]string{"warning": string(line[:max(0, len(line)-1)])})
}

var _ io.Writer = warnings{}
