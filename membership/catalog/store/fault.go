package store

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"go.uber.org/zap/zapcore"
)

// faultHook ends the goroutine that met a fault, where etcd would end the
// process: the store then acknowledges nothing any more, and the traffic goes on
// with the last view.
type faultHook struct{ s *Store }

func (h faultHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	why, err := faultText(e.Message, fields)
	if e.Message == faultUnsaved {
		h.s.unsaved.Store(true)
	}
	if passes(err) {
		h.s.stop(why)
	} else {
		h.s.fail(why)
	}
	runtime.Goexit()
}

// faultText is a log entry with the error that it names.
func faultText(message string, fields []zapcore.Field) (string, error) {
	var errs []error
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			message += ": " + err.Error()
			errs = append(errs, err)
		}
	}
	return message, errors.Join(errs...)
}

// fail marks the store as broken, for good.
func (s *Store) fail(why string) {
	s.stays.Store(true)
	s.stop(why)
}

// stop marks the store as broken.
func (s *Store) stop(why string) {
	if s.fault.CompareAndSwap(nil, &why) {
		s.brake()
	}
}

// lostLog is in what raft says when the others count on entries that this proxy has not.
const lostLog = "Was the raft log corrupted, truncated, or lost?"

// Err returns the fault that broke the store, or nil.
func (s *Store) Err() error {
	if s.removed.Load() {
		return fmt.Errorf("%w: %w by the other proxies: to join anew, move %s away and start with --join", ErrBroken, ErrRemoved, s.o.Dir)
	}
	if why := s.fault.Load(); why != nil && strings.Contains(*why, lostLog) {
		return fmt.Errorf("%w: the files under %s are older than what the other proxies have had from this one, as after a snapshot of the machine was put back: to join anew, move %s away and start with --join", ErrBroken, s.o.Dir, s.o.Dir)
	} else if why != nil && s.Passing() {
		return fmt.Errorf("%w: %s; %w", ErrBroken, *why, ErrPassing)
	} else if why != nil {
		return fmt.Errorf("%w: %s; changes are refused until portico starts again on a healthy disk", ErrBroken, *why)
	}
	return nil
}
