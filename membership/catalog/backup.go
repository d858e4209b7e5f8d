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
	"time"

	"portico/conf/sites"
	"portico/membership/catalog/store"
)

// A backup is one line that says what it is, one line of JSON, and the store's
// own snapshot, which ends with a SHA-256 of itself.
const (
	backupMagic   = "portico catalog backup 1\n"
	maxBackupHead = 64 << 10
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
	if err := c.store.Load().Err(); err != nil {
		return fmt.Errorf("back up catalog: %w", err)
	}
	v := c.View()
	head, err := json.Marshal(BackupInfo{Cluster: v.ClusterID, Proxy: c.o.Name, Created: time.Now().UTC(), Revision: v.Revision})
	if err != nil {
		return fmt.Errorf("back up catalog: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := c.store.Load().Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("back up catalog: %w", err)
	}
	_, err = io.WriteString(w, backupMagic+string(head)+"\n")
	if err == nil {
		_, err = io.Copy(w, r)
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("back up catalog: %w", err)
	}
	return nil
}

// BackupHead reads what a backup says about itself.
func BackupHead(r io.Reader) (BackupInfo, error) {
	info, err := readBackupHead(bufio.NewReaderSize(r, maxBackupHead))
	if err != nil {
		return info, fmt.Errorf("restore catalog: %w", err)
	}
	return info, nil
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
	if err := store.Unpack(o.store(nil), tmp, data); err != nil {
		return info, fmt.Errorf("%w: the backup does not restore: %w", ErrCorrupt, err)
	}
	secrets := map[string][]byte{} // sealed, by name; the last revision stays
	records := o.store(nil).Records
	records.Check = func(key string, value []byte) error {
		if prefix, name := splitKey(key); prefix == preSecrets {
			secrets[name] = value
		}
		return checkValue(key, value)
	}
	if _, err := store.CheckFiles(data, records); err != nil {
		return info, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for name, value := range secrets {
		if len(value) == 0 {
			continue // deleted
		}
		if _, err := sealer.open(name, value); errors.Is(err, ErrWrongKey) {
			return info, fmt.Errorf("%w: this is not the key of the cluster that was backed up: take identity/catalog.key of %s", ErrWrongKey, info.Proxy)
		} else if err != nil {
			return info, err
		}
	}
	return info, store.MarkComplete(o.Dir)
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
