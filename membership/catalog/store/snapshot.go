package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync/atomic"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"portico/internal/zapslog"
	"portico/membership/catalog/store/etcdlog"
)

// revisionBump is added to the revision when a snapshot is unpacked, so that who knew the
// cluster after it was taken never sees its revision go back.
const revisionBump = 1 << 30

// Snapshot reads the embedded store's files as they are at one revision, while they are in use. It ends with a
// SHA-256 of itself. The caller closes it, before ctx ends.
func (s *Store) Snapshot(ctx context.Context) (io.ReadCloser, error) {
	r, err := s.client().SnapshotWithVersion(ctx)
	if err != nil {
		return nil, err
	}
	return r.Snapshot, nil
}

// Unpack makes the files of an embedded store under the folder to from a snapshot in the file from. Etcd answers damage
// with panics and fatal log entries, which end the goroutine that it runs in here.
func Unpack(o Options, from, to string) error {
	cfg := (&Store{o: o, logger: o.Logger}).config(to, false)
	var fatal atomic.Pointer[string]
	hook := endGoroutine{&fatal}
	logger := zapslog.New(slog.New(etcdlog.New(o.Logger.Handler())), zap.WithFatalHook(hook), zap.WithPanicHook(hook))
	done := make(chan error, 1)
	go func() {
		err := errors.New("it ended without an answer")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%v", p)
			} else if why := fatal.Load(); why != nil {
				err = errors.New(*why)
			}
			done <- err
		}()
		err = snapshot.NewV3(logger).Restore(snapshot.RestoreConfig{
			SnapshotPath: from, OutputDataDir: to, Name: cfg.Name,
			PeerURLs:       []string{cfg.AdvertisePeerUrls[0].String()},
			InitialCluster: cfg.InitialCluster, InitialClusterToken: cfg.InitialClusterToken,
			RevisionBump: revisionBump, MarkCompacted: true,
		})
	}()
	return <-done
}

// endGoroutine ends the goroutine that logs something fatal.
type endGoroutine struct{ why *atomic.Pointer[string] }

func (e endGoroutine) OnWrite(c *zapcore.CheckedEntry, fields []zapcore.Field) {
	why, _ := faultText(c.Message, fields)
	e.why.Store(&why)
	runtime.Goexit()
}
