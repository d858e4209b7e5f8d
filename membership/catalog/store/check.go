package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"portico/internal/durable"
)

// fileComplete says that a catalog has been opened once: its first start went
// through.
const fileComplete = "complete"

// setAsideUnfinished moves the files of a first start that was cut short out of
// the way: etcd can neither continue nor repeat it, and nobody was told that
// anything had been stored.
func setAsideUnfinished(o Options, data string) error {
	if _, err := os.Stat(filepath.Join(o.Dir, fileComplete)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	joins := o.Peers != nil && o.Peers.Join != nil // the others count this one as new by now
	if files, err := CheckFiles(data, o.Records); err == nil && files.Settled && !joins {
		return nil // somebody removed the mark; there is a cluster in there
	}
	aside := data + ".unfinished"
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("remove what an earlier start left: %w", err)
	}
	if err := os.Rename(data, aside); err != nil {
		return fmt.Errorf("set an unfinished first start aside: %w", err)
	}
	o.Logger.Warn("the first start of this catalog was cut short, starting afresh", "aside", aside)
	return durable.SyncDir(o.Dir)
}

// Exists reports whether a catalog has been opened in dir before.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, fileComplete))
	return err == nil
}

// MarkComplete notes that the first start went through.
func MarkComplete(dir string) error {
	path := filepath.Join(dir, fileComplete)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return durable.WriteFile(path, []byte("This catalog has been opened once; see etcd/ for its files.\n"))
}

// Contents is what CheckFiles found.
type Contents struct {
	Settled bool // the key is there that a cluster has from its first change on
	Members int  // proxies that share the store, this one among them
}

func database(data string) string { return filepath.Join(data, "member", "snap", "db") }

// openDatabase opens the database to read it. It fails with ErrLocked while somebody has it open to write.
func openDatabase(data string) (*bolt.DB, error) {
	path := database(data)
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	// Without the free list: bolt would rebuild it in a goroutine of its own, with
	// panics that nobody can catch.
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: another program, or an earlier start of this one, has %s open", ErrLocked, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return db, nil
}

// CheckFiles walks the database before a server opens it, and reports what is
// in it. A damaged page makes the server panic in
// goroutines of its own, where nobody can catch it; here the same damage is an
// error, and so is a value that records refuse. A directory without a
// database is fine.
func CheckFiles(data string, records Records) (found Contents, err error) {
	path := database(data)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	// A file that is shorter than its pages say faults on access to the mapping.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read %s: %v", path, p)
		}
	}()
	db, err := openDatabase(data)
	if err != nil {
		return found, err
	}
	defer func() { _ = db.Close() }()
	err = db.View(func(tx *bolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("read %s: %d bytes are missing at its end", path, tx.Size()-info.Size())
		}
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(_, v []byte) error {
				switch string(name) {
				case "members":
					found.Members++
				case "key":
					settled, err := records.check(v)
					found.Settled = found.Settled || settled
					return err
				}
				return nil
			})
		})
	})
	return found, err
}

// check checks one revision of one key as etcd stores it, and reports whether it settles a cluster.
func (r Records) check(v []byte) (settled bool, err error) {
	var kv mvccpb.KeyValue
	if err := proto.Unmarshal(v, &kv); err != nil {
		return false, fmt.Errorf("a record is not readable: %w", err)
	}
	key, value := string(kv.GetKey()), kv.GetValue()
	if Own(key) {
		return false, nil
	}
	if r.Check != nil {
		err = r.Check(key, value)
	}
	return key == r.Settled && len(value) > 0, err
}
