package start

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// hearHangups answers SIGHUP with a word in the log. Unheard it ends a process, and an agent is told
// so by whoever is used to servers that read their file again.
func hearHangups(log *slog.Logger) (stop func()) {
	hup, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-hup:
				log.Info("SIGHUP changes nothing: an agent reads its configuration when it starts. Restart it, its sites run on")
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(hup)
		close(done)
	}
}

// endOnHangup ends ctx with the terminal that the command was typed in, unless it was started to outlive
// that (nohup).
func endOnHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}
