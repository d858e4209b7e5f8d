package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"

	"portico/internal/zapslog"
	"portico/membership/catalog/store/etcdlog"
	"portico/membership/catalog/store/peers"
)

// What the embedded store is set to, and why.
const (
	// A single proxy has nobody to hear from, and is elected at its start without waiting for a tick: see
	// stand. Each tick wakes the process, so they are rare. Proxies that share a catalog notice a silent leader by
	// them; they are long enough that a slow disk or network does not look like one.
	tick           = time.Second
	election       = 5 * tick // the least that etcd takes
	sharedTick     = 50 * time.Millisecond
	sharedElection = 500 * time.Millisecond

	walSegment = 4 << 20   // etcd preallocates 64 MB a file otherwise; our log is small
	quota      = 512 << 20 // bytes; the records of 1,000 sites take about 10 MB
	// Writes are safe once they are in the log; the file of records follows by so much. Less wakes the process more
	// often, more makes a start after a crash read more of the log again, and each read copies more that is not in the file.
	batchEvery = 2 * time.Second

	defragAfter = 64      // MB that a start must be able to win back before it rewrites the file
	keepRevs    = "1000"  // revisions kept for watchers that fell behind
	maxRequest  = 4 << 20 // bytes of one transaction

	startTimeout = 5 * time.Minute  // for the server to read its files: a disk that is that slow serves nobody
	startWord    = 15 * time.Second // between two words on what a start waits for
	startLook    = 100 * time.Millisecond
)

// MaxOps is the most comparisons or writes in one transaction.
const MaxOps = 16384

var setSegmentSize = sync.OnceFunc(func() { wal.SegmentSizeBytes = walSegment })

// begin starts the first life of the server, as the files in the folder say.
func (s *Store) begin() error {
	data := filepath.Join(s.o.Dir, "etcd")
	if err := setAsideUnfinished(s.o, data); err != nil {
		return err
	}
	files, err := CheckFiles(data, s.o.Records)
	if err != nil {
		return startError(data, err)
	}
	var listening *peers.Server
	if joins := s.o.Peers != nil && s.o.Peers.Join != nil && files.Members == 0; files.Members > 1 || joins {
		if listening, err = s.listen(); err != nil {
			return err
		}
	}
	s.spendReserve()
	r, err := s.start(listening)
	if err != nil {
		return err
	}
	s.keepReserve() // first: what a disk lacks, the database has managed without so far
	s.fillDatabase()
	s.run.Store(r)
	return nil
}

// start runs the server, with other proxies or alone. Etcd answers damaged files with
// panics and with fatal log entries; both end the goroutine it is started in and
// become an error here. On an error nothing listens any more.
func (s *Store) start(listening *peers.Server) (_ *running, err error) {
	data := filepath.Join(s.o.Dir, "etcd")
	cfg := s.config(data, listening != nil)
	defer func() {
		if err != nil {
			listening.Close()
		}
	}()
	done := make(chan outcome, 1)
	go func() {
		var out outcome
		defer func() {
			if p := recover(); p != nil {
				out = outcome{err: fmt.Errorf("the log under %s cannot be read (%v)", data, p)}
			} else if why := s.fault.Load(); why != nil {
				out = outcome{err: errors.New(*why)}
			}
			done <- out
		}()
		resyncSeldom()
		e, err := embed.StartEtcd(cfg)
		out = outcome{etcd: e, err: err}
	}()
	out, err := s.awaitStart(done, data)
	if err == nil {
		err = out.err
	}
	if err != nil {
		if err = startError(data, err); !errors.Is(err, ErrStuck) && filesOpen(data) {
			err = fmt.Errorf("%w; %w", err, ErrStuck)
		}
		return nil, err
	}
	r := &running{etcd: out.etcd, client: v3client.New(out.etcd.Server), peers: listening}
	r.client.Lease = leases{r.client.Lease, out.etcd.Server}
	if listening != nil {
		listening.Handle(s.handler(out.etcd))
	}
	s.watchRemoval(r)
	if listening == nil {
		r.standing.Go(func() { s.stand(r) })
	}
	return r, nil
}

// outcome is how a start of etcd ended.
type outcome struct {
	etcd *embed.Etcd
	err  error
}

// awaitStart waits for a start to end. One whose fault came up in another goroutine than the one
// that starts may never end.
func (s *Store) awaitStart(done <-chan outcome, data string) (outcome, error) {
	began, broken := time.Now(), time.Time{}
	look, word := time.NewTicker(startLook), time.NewTicker(startWord)
	defer look.Stop()
	defer word.Stop()
	for {
		select {
		case out := <-done:
			return out, nil
		case <-look.C:
			switch why := s.fault.Load(); {
			case why == nil:
			case broken.IsZero():
				broken = time.Now()
			case time.Since(broken) > brokenTimeout:
				return outcome{}, fmt.Errorf("%s: %w", *why, ErrStuck)
			}
		case <-word.C:
			took := time.Since(began).Round(time.Second)
			if took >= startTimeout {
				return outcome{}, fmt.Errorf("reading took longer than %s: %w", startTimeout, ErrStuck)
			}
			s.logger.Warn("the catalog is still being read: the disk or the machine is slow", "folder", data, "after", took.String())
		}
	}
}

// filesOpen reports whether a start that has failed left files open. Etcd closes nothing when it fails midway, and returns nothing that
// could be closed; a fault ends the goroutine that starts. Without descriptors nobody can look: then it reports true.
func filesOpen(data string) bool {
	if db, err := openDatabase(data); err == nil {
		_ = db.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return true
	}
	logs, err := os.ReadDir(filepath.Join(data, "member", "wal"))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	for _, e := range logs {
		if filepath.Ext(e.Name()) != ".wal" {
			continue
		}
		l, err := fileutil.TryLockFile(filepath.Join(data, "member", "wal", e.Name()), os.O_RDWR, fileutil.PrivateFileMode)
		if err != nil {
			return true
		}
		_ = l.Close()
	}
	return false
}

// startError tells trouble with the disk from damaged files, by the words of the
// system's errors: etcd does not keep the errors themselves.
func startError(data string, err error) error {
	for _, words := range []string{"no space left", "file too large", "quota exceeded", "permission denied", "read-only file system", "too many open files", "input/output error", "not enough space", "access is denied"} {
		if strings.Contains(strings.ToLower(err.Error()), words) {
			return fmt.Errorf("start store in %s: %w; make room or repair the disk, the catalog itself is not damaged", data, err)
		}
	}
	if errors.Is(err, ErrLocked) {
		return fmt.Errorf("start store in %s: %w; the catalog itself is not damaged", data, err)
	}
	if errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w; nothing was deleted under %s: restore a backup into an empty directory", err, data)
	}
	return fmt.Errorf("%w: %w; nothing was deleted under %s: restore a backup into an empty directory", ErrCorrupt, err, data)
}

// config is what the server is told. Shared: other proxies have the store as well.
func (s *Store) config(data string, shared bool) *embed.Config {
	// A member without peers has an address only because etcd wants one.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:7445"}

	cfg := embed.NewConfig()
	cfg.Name = s.o.Name
	cfg.Dir = data
	cfg.TickMs = uint(tick.Milliseconds())
	cfg.ElectionMs = uint(election.Milliseconds())
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls = nil
	cfg.AdvertisePeerUrls = []url.URL{peer}
	cfg.AdvertiseClientUrls = nil
	cfg.InitialCluster = s.o.Name + "=" + peer.String()
	cfg.InitialClusterToken = "portico"
	if shared {
		shareConfig(cfg, s.o.Peers)
	}
	cfg.AutoCompactionMode = embed.CompactorModeRevision
	cfg.AutoCompactionRetention = keepRevs
	cfg.QuotaBackendBytes = quota
	cfg.BootstrapDefragThresholdMegabytes = defragAfter
	cfg.MaxTxnOps = MaxOps
	cfg.MaxRequestBytes = maxRequest
	cfg.BackendBatchInterval = batchEvery
	cfg.WarningApplyDuration = time.Second // an install on the same disk takes it for a tenth of that
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapslog.New(
		slog.New(etcdlog.New(s.logger.Handler())),
		zap.WithFatalHook(faultHook{s}), zap.WithPanicHook(faultHook{s})))
	return cfg
}
