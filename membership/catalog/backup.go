package catalog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"portico/conf/sites"
	"portico/internal/zapslog"
)

// A backup is one line that says what it is, one line of JSON, and the store's
// own snapshot, which ends with a SHA-256 of itself.
const (
	backupMagic   = "portico catalog backup 1\n"
	maxBackupHead = 64 << 10

	// revisionBump is added to the revision at a restore, so that who knew the
	// cluster after the backup was taken never sees its revision go back.
	revisionBump = 1 << 30
)

// BackupInfo describes a backup.
type BackupInfo struct {
	Cluster  string    `json:"cluster"`
	Proxy    string    `json:"proxy"` // that wrote it
	Created  time.Time `json:"created"`
	Revision int64     `json:"revision"` // the backup holds this one or a newer
}

// Backup writes the whole catalog to w while it is in use. Secrets and private
// keys are in it as they are stored, sealed: a backup is of use only together with
// the key of Options.Key, which is not in it.
func (c *Catalog) Backup(ctx context.Context, w io.Writer) error {
	if c.o.Outside != nil {
		return fmt.Errorf("%w: the catalog lies in an outside etcd: back that up with its own tools (etcdctl snapshot save), and identity/catalog.key of one proxy", ErrConflict)
	}
	if err := c.store.Load().err(); err != nil {
		return fmt.Errorf("back up catalog: %w", err)
	}
	v := c.View()
	head, err := json.Marshal(BackupInfo{Cluster: v.ClusterID, Proxy: c.o.Name, Created: time.Now().UTC(), Revision: v.Revision})
	if err != nil {
		return fmt.Errorf("back up catalog: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := c.store.Load().client().SnapshotWithVersion(ctx)
	if err != nil {
		return fmt.Errorf("back up catalog: %w", err)
	}
	_, err = io.WriteString(w, backupMagic+string(head)+"\n")
	if err == nil {
		_, err = io.Copy(w, r.Snapshot)
	}
	if err = errors.Join(err, r.Snapshot.Close()); err != nil {
		return fmt.Errorf("back up catalog: %w", err)
	}
	return nil
}

// Restore makes a catalog from a backup in o.Dir, which must be empty or absent.
// The proxy that opens it is its only one; proxies that shared the old one join
// anew. What the backup says about itself is returned. On an error nothing is left in o.Dir;
// a key that does not open the backup's secrets is one.
func Restore(ctx context.Context, r io.Reader, o Options) (BackupInfo, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := sites.ValidName("member", o.Name); err != nil {
		return BackupInfo{}, fmt.Errorf("restore catalog: %w", err)
	}
	sealer, err := newSealer(o.Key)
	if err != nil {
		return BackupInfo{}, fmt.Errorf("restore catalog: %w", err)
	}
	info, err := restore(ctx, r, o, sealer)
	if err != nil {
		return BackupInfo{}, fmt.Errorf("restore catalog: %w", err)
	}
	return info, nil
}

func restore(ctx context.Context, r io.Reader, o Options, sealer *sealer) (info BackupInfo, err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return info, err
	}
	if there, err := os.ReadDir(o.Dir); err != nil {
		return info, err
	} else if len(there) > 0 {
		return info, fmt.Errorf("%w: %s is not empty (%s); move it away first", ErrExists, o.Dir, there[0].Name())
	}
	b := bufio.NewReaderSize(r, maxBackupHead)
	if info, err = readBackupHead(b); err != nil {
		return info, err
	}
	tmp := filepath.Join(o.Dir, "restore.tmp")
	data := filepath.Join(o.Dir, "etcd")
	defer func() {
		_ = os.Remove(tmp)
		if err != nil {
			_ = os.RemoveAll(data)
		}
	}()
	if err := copyFile(ctx, tmp, b); err != nil {
		return info, err
	}
	if err := unpackSnapshot(o, tmp, data); err != nil {
		return info, fmt.Errorf("%w: the backup does not restore: %w", ErrCorrupt, err)
	}
	found, err := checkFiles(data)
	if err != nil {
		return info, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for name, value := range found.secrets {
		if len(value) == 0 {
			continue // deleted
		}
		if _, err := sealer.open(name, value); errors.Is(err, ErrWrongKey) {
			return info, fmt.Errorf("%w: this is not the key of the cluster that was backed up: take identity/catalog.key of %s", ErrWrongKey, info.Proxy)
		} else if err != nil {
			return info, err
		}
	}
	return info, markComplete(o.Dir)
}

func readBackupHead(b *bufio.Reader) (info BackupInfo, err error) {
	magic, err := b.Peek(len(backupMagic))
	if err != nil || !bytes.Equal(magic, []byte(backupMagic)) {
		return info, fmt.Errorf("%w: this is not a backup of a portico catalog", ErrInvalid)
	}
	_, _ = b.Discard(len(magic))
	line, err := b.ReadSlice('\n')
	if err == nil {
		err = json.Unmarshal(line, &info)
	}
	if err != nil {
		return info, fmt.Errorf("%w: the backup's head: %w", ErrCorrupt, err)
	}
	return info, nil
}

// copyFile writes r to a new file that survives a power cut.
func copyFile(ctx context.Context, path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, contextReader{ctx, r})
	return errors.Join(err, f.Sync(), f.Close())
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// unpackSnapshot makes etcd's files from a snapshot. Etcd answers damage with
// panics and fatal log entries, which end the goroutine that it runs in here.
func unpackSnapshot(o Options, from, to string) error {
	cfg := (&store{logger: o.Logger}).config(o, to, false)
	var fatal atomic.Pointer[string]
	hook := endGoroutine{&fatal}
	logger := zapslog.New(slog.New(newQuiet(o.Logger.Handler())), zap.WithFatalHook(hook), zap.WithPanicHook(hook))
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
