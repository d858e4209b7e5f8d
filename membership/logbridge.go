package membership

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// logBridge is the io.Writer under the log.Logger of serf and memberlist. Lines
// look like "[WARN] memberlist: Was able to …". What anybody on the network can
// cause is limited, so that junk fills no disk.
type logBridge struct {
	log *slog.Logger
	now func() time.Time

	mu         sync.Mutex
	room       int       // lines that may be written at once
	refilled   time.Time // when room last grew
	suppressed int       // lines dropped since the last one written
}

const (
	logBurst = 20          // enough for the start of a member and a bad minute
	logEvery = time.Second // one line more after each
)

func newLogger(l *slog.Logger) *log.Logger {
	b := &logBridge{log: l, now: time.Now, room: logBurst}
	b.refilled = b.now()
	return log.New(b, "", 0)
}

// ordinary is the beginning or the end of what serf and memberlist warn of though it is as it should be: the start of
// whoever starts first, as Cluster goes on trying and says so itself while nobody
// answers; the end of an agent that comes back soon, which does not leave; and the start of whoever was killed, or takes
// over: the others tell it what they remember of it, and it corrects that; and a member that has ended, which takes no connection: what
// becomes of it, Cluster says itself.
var ordinary = []string{
	"Failed to re-join any previously known node",
	"Shutdown without a Leave",
	"memberlist: Refuting a", // suspect, dead or alive message
	"connect: connection refused",
	"use of closed network connection",
}

func isOrdinary(message string) bool {
	return slices.ContainsFunc(ordinary, func(s string) bool { return strings.HasPrefix(message, s) || strings.HasSuffix(message, s) })
}

// Write takes one line. Serf's "information" is our debugging: what matters of
// it, Cluster says in its own words.
func (b *logBridge) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	text := string(bytes.TrimSpace(line))
	if rest, ok := strings.CutPrefix(text, "["); ok {
		if word, message, ok := strings.Cut(rest, "] "); ok {
			text = message
			if loud := word == "WARN" || word == "ERR" || word == "ERROR"; loud && !isOrdinary(message) {
				level = slog.LevelWarn
			}
		}
	}
	ctx := context.Background()
	if !b.log.Enabled(ctx, level) {
		return len(line), nil
	}
	dropped, ok := b.admit(level)
	if !ok {
		return len(line), nil
	}
	source, message, found := strings.Cut(text, ": ")
	if !found {
		source, message = "gossip", text
	}
	attrs := []slog.Attr{slog.String("from", source), slog.String("text", message)}
	if dropped > 0 {
		attrs = append(attrs, slog.Int("suppressed", dropped))
	}
	b.log.LogAttrs(ctx, level, "gossip", attrs...)
	return len(line), nil
}

// admit reports whether a line may be written, and how many were dropped before.
func (b *logBridge) admit(level slog.Level) (dropped int, ok bool) {
	if level < slog.LevelWarn {
		return 0, true // somebody asked for all of it
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if grown := int(b.now().Sub(b.refilled) / logEvery); grown > 0 {
		b.room = min(logBurst, b.room+grown)
		b.refilled = b.now()
	}
	if b.room == 0 {
		b.suppressed++
		return 0, false
	}
	b.room--
	dropped, b.suppressed = b.suppressed, 0
	return dropped, true
}
