package zapslog_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"portico/internal/zapslog"
)

func TestEntriesArriveInSlog(t *testing.T) {
	var out bytes.Buffer
	l := zapslog.New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	l.Debug("unseen")
	l.Named("acme").With(zap.String("host", "a")).Info("obtained", zap.Int("tries", 2), zap.Duration("took", time.Second), zap.Error(errors.New("none")))
	l.Warn("careful", zap.Strings("names", []string{"a", "b"}))
	l.Error("broken\nline")
	want := []string{
		`level=INFO msg=obtained host=a logger=acme tries=2 took=1s error=none`,
		`level=WARN msg=careful names="[a b]"`,
		`level=ERROR msg="broken\nline"`,
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d is %q, want %q", i, got[i], want[i])
		}
	}
}

// Fatal must do what its hook says even where the log is off.
func TestFatalRunsItsHook(t *testing.T) {
	l := zapslog.New(slog.New(slog.DiscardHandler), zap.WithFatalHook(zapcore.WriteThenPanic))
	defer func() {
		if recover() == nil {
			t.Error("the hook did not run")
		}
	}()
	l.Fatal("end")
}
