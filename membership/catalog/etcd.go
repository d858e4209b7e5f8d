package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"

	"portico/internal/pause"
	"portico/internal/zapslog"
)

// What the embedded store is set to, and why.
const (
	// A single proxy has nobody to hear from, and is elected at its start without waiting for a tick: see
	// stand. Each tick wakes the process, so they are rare. Proxies that share a catalog notice a silent leader by
	// them; they are long enough that a slow disk or network does not look like one.
	tick           = 500 * time.Millisecond
	election       = 5 * tick // the least that etcd takes
	sharedTick     = 50 * time.Millisecond
	sharedElection = 500 * time.Millisecond

	readAgain = 10 * time.Millisecond // between two tries to read while the cluster is between leaders

	walSegment = 4 << 20   // etcd preallocates 64 MB a file otherwise; our log is small
	quota      = 512 << 20 // bytes; the records of 1,000 sites take about 10 MB
	// Writes are safe once they are in the log; the file of records follows by so much. Less wakes the process more
	// often, more makes a start after a crash read more of the log again.
	batchEvery = 500 * time.Millisecond

	defragAfter = 64      // MB that a start must be able to win back before it rewrites the file
	keepRevs    = "1000"  // revisions kept for watchers that fell behind
	maxOps      = 16384   // comparisons or writes in one transaction
	maxRequest  = 4 << 20 // bytes of one transaction

	startTimeout  = 5 * time.Minute  // for the server to read its files: a disk that is that slow serves nobody
	startWord     = 15 * time.Second // between two words on what a start waits for
	startLook     = 100 * time.Millisecond
	closeTimeout  = 10 * time.Second // for the server to stop
	brokenTimeout = 2 * time.Second  // the same after a fault: it may never
	opTimeout     = 10 * time.Second // for one operation whose caller set no deadline
	revokeTimeout = 2 * time.Second  // for giving locks back at the end; there may be no quorum
	leaseSeconds  = 10               // a lock of a dead process is free after this
)

var setSegmentSize = sync.OnceFunc(func() { wal.SegmentSizeBytes = walSegment })

// store is the small part of etcd that the catalog uses: get, list, transact
// with comparisons, watch from a revision, lock. The client speaks to the server
// by function calls, so that there is no socket that others could find; nothing
// listens for peers either while there is one proxy.
type store struct {
	o      Options
	logger *slog.Logger
	lock   *fileutil.LockedFile
	view   func() *View // as this process knows it; nil before it has read one

	outside bool // somebody else runs the etcd

	use  sync.RWMutex            // held by each operation; close takes it for good
	gate sync.RWMutex            // held by each operation, and alone while the server begins another life
	run  atomic.Pointer[running] // nil until the first life has begun

	broken  context.Context // ends with the first fault, or with close
	brake   context.CancelFunc
	fault   atomic.Pointer[string]
	stays   atomic.Bool // the fault is none that passes, see revive
	unsaved atomic.Bool // the fault is faultUnsaved
	removed atomic.Bool // the fault is that the other proxies removed this one

	sessionMu sync.Mutex
	session   *concurrency.Session // of the locks; nil until the first

	heldMu sync.Mutex
	held   map[string]*held // locks that this process has or waits for

	closeOnce sync.Once
	closeErr  error
}

// held keeps those of one process apart who want the same lock: to etcd they all
// look like one, because they share a lease.
type held struct {
	turn  chan struct{} // holds one token: who takes it has the lock
	users int           // guarded by store.heldMu
}

// item is one key with its value and the revision that wrote it.
type item struct {
	key      string
	value    []byte
	revision int64
}

// openStore locks dir and starts the server in it. It returns once the server
// has read its files; a leader may not be there yet.
func openStore(o Options, view func() *View) (*store, error) {
	setSegmentSize()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &store{o: o, logger: o.Logger, lock: lock, view: view, held: map[string]*held{}}
	s.broken, s.brake = context.WithCancel(context.Background())
	if err := s.begin(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return s, nil
}

// begin starts the first life of the server, as the files in the folder say.
func (s *store) begin() error {
	data := filepath.Join(s.o.Dir, "etcd")
	if err := setAsideUnfinished(s.o, data); err != nil {
		return err
	}
	files, err := checkFiles(data)
	if err != nil {
		return startError(data, err)
	}
	var peers *peerServer
	if joins := s.o.Peers != nil && s.o.Peers.Join != nil && files.members == 0; files.members > 1 || joins {
		if peers, err = s.listenPeers(); err != nil {
			return err
		}
	}
	r, err := s.start(peers)
	if err != nil {
		return err
	}
	s.run.Store(r)
	return nil
}

// start runs the server, with peers or alone. Etcd answers damaged files with
// panics and with fatal log entries; both end the goroutine it is started in and
// become an error here. On an error peers are closed.
func (s *store) start(peers *peerServer) (_ *running, err error) {
	data := filepath.Join(s.o.Dir, "etcd")
	cfg := s.config(s.o, data, peers != nil)
	defer func() {
		if err != nil {
			peers.close()
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
		return nil, startError(data, err)
	}
	r := &running{etcd: out.etcd, client: v3client.New(out.etcd.Server), peers: peers}
	r.client.Lease = leases{r.client.Lease, out.etcd.Server}
	peers.serve(s, out.etcd)
	s.watchRemoval(r)
	if peers == nil {
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
func (s *store) awaitStart(done <-chan outcome, data string) (outcome, error) {
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
				return outcome{}, fmt.Errorf("%s: %w", *why, errStuck)
			}
		case <-word.C:
			took := time.Since(began).Round(time.Second)
			if took >= startTimeout {
				return outcome{}, fmt.Errorf("reading took longer than %s: %w", startTimeout, errStuck)
			}
			s.logger.Warn("the catalog is still being read: the disk or the machine is slow", "folder", data, "after", took.String())
		}
	}
}

// startError tells trouble with the disk from damaged files, by the words of the
// system's errors: etcd does not keep the errors themselves.
func startError(data string, err error) error {
	for _, words := range []string{"no space left", "file too large", "quota exceeded", "permission denied", "read-only file system", "too many open files", "input/output error", "not enough space", "access is denied"} {
		if strings.Contains(strings.ToLower(err.Error()), words) {
			return fmt.Errorf("start store in %s: %w; make room or repair the disk, the catalog itself is not damaged", data, err)
		}
	}
	if errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w; nothing was deleted under %s: restore a backup into an empty directory", err, data)
	}
	return fmt.Errorf("%w: %w; nothing was deleted under %s: restore a backup into an empty directory", ErrCorrupt, err, data)
}

// config is what the server is told. Shared: other proxies have the catalog as well.
func (s *store) config(o Options, data string, shared bool) *embed.Config {
	// A member without peers has an address only because etcd wants one.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:7445"}

	cfg := embed.NewConfig()
	cfg.Name = o.Name
	cfg.Dir = data
	cfg.TickMs = uint(tick.Milliseconds())
	cfg.ElectionMs = uint(election.Milliseconds())
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls = nil
	cfg.AdvertisePeerUrls = []url.URL{peer}
	cfg.AdvertiseClientUrls = nil
	cfg.InitialCluster = o.Name + "=" + peer.String()
	cfg.InitialClusterToken = "portico"
	if shared {
		shareConfig(cfg, o.Peers)
	}
	cfg.AutoCompactionMode = embed.CompactorModeRevision
	cfg.AutoCompactionRetention = keepRevs
	cfg.QuotaBackendBytes = quota
	cfg.BootstrapDefragThresholdMegabytes = defragAfter
	cfg.MaxTxnOps = maxOps
	cfg.MaxRequestBytes = maxRequest
	cfg.BackendBatchInterval = batchEvery
	cfg.WarningApplyDuration = time.Second // an install on the same disk takes it for a tenth of that
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapslog.New(
		slog.New(newQuiet(s.logger.Handler())),
		zap.WithFatalHook(faultHook{s}), zap.WithPanicHook(faultHook{s})))
	return cfg
}

// do runs one operation with a deadline, and gives up at once when the store
// breaks meanwhile.
func (s *store) do(ctx context.Context, op func(context.Context) error) error {
	if err := s.err(); err != nil {
		return err
	}
	if !s.use.TryRLock() {
		return ErrClosed
	}
	defer s.use.RUnlock()
	ctx, cancel := context.WithTimeoutCause(ctx, opTimeout, ErrNoAnswer)
	defer cancel()
	defer context.AfterFunc(s.broken, cancel)()
	s.gate.RLock()
	err := s.explainOutside(op(ctx))
	s.gate.RUnlock()
	if err == nil {
		return nil
	}
	if fault := s.err(); fault != nil {
		return fault
	}
	if s.broken.Err() != nil {
		return ErrClosed
	}
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
		if s.outside {
			return fmt.Errorf("%w (%w)", cause, err) // which says what the connection met
		}
		return cause
	}
	return plain(err)
}

// ready waits until a leader is known, or ctx ends.
func (s *store) ready(ctx context.Context) {
	if s.outside {
		return // the first read finds out
	}
	server := s.run.Load().etcd.Server
	select {
	case <-server.ReadyNotify():
	case <-s.leaderKnown(ctx, server):
	case <-s.broken.Done():
	case <-ctx.Done():
	}
}

// read is do for operations without effect: it repeats them while the cluster is
// between leaders.
func (s *store) read(ctx context.Context, op func(context.Context) error) error {
	return s.do(ctx, func(ctx context.Context) error {
		for {
			err := op(ctx)
			var e rpctypes.EtcdError
			if !errors.As(err, &e) || e.Code() != codes.Unavailable {
				return err
			}
			if pause.For(ctx, readAgain) != nil {
				return err
			}
		}
	})
}

// get reads one key. Serializable asks this member's own copy only.
func (s *store) get(ctx context.Context, key string, serializable bool) (it item, found bool, err error) {
	var opts []clientv3.OpOption
	if serializable {
		opts = append(opts, clientv3.WithSerializable())
	} else if err := s.awaitLeader(ctx); err != nil {
		return it, false, err
	}
	err = s.read(ctx, func(ctx context.Context) error {
		r, err := s.client().Get(ctx, key, opts...)
		if err == nil && len(r.Kvs) == 1 {
			it, found = item{key, r.Kvs[0].Value, r.Kvs[0].ModRevision}, true
		}
		return err
	})
	return it, found, err
}

// list reads every key that starts with prefix, and the revision at which it
// did. Serializable asks this member's own copy only.
func (s *store) list(ctx context.Context, prefix string, keysOnly, serializable bool) (items []item, revision int64, err error) {
	opts := []clientv3.OpOption{clientv3.WithPrefix()}
	if prefix == "" {
		opts = []clientv3.OpOption{clientv3.WithFromKey()}
		prefix = "\x00"
	}
	if keysOnly {
		opts = append(opts, clientv3.WithKeysOnly())
	}
	if serializable {
		opts = append(opts, clientv3.WithSerializable())
	} else if err := s.awaitLeader(ctx); err != nil {
		return nil, 0, err
	}
	err = s.read(ctx, func(ctx context.Context) error {
		r, err := s.client().Get(ctx, prefix, opts...)
		if err != nil {
			return err
		}
		revision = r.Header.Revision
		items = make([]item, 0, len(r.Kvs))
		for _, kv := range r.Kvs {
			items = append(items, item{string(kv.Key), kv.Value, kv.ModRevision})
		}
		return nil
	})
	return items, revision, err
}

// transact writes everything or nothing. It reports whether the comparisons held, and
// the store's revision then. The error is ErrUncertain where it may have been done.
func (s *store) transact(ctx context.Context, compare []clientv3.Cmp, ops []clientv3.Op) (ok bool, revision int64, err error) {
	sent := false
	err = s.do(ctx, func(ctx context.Context) error {
		if err := s.awaitLeader(ctx); err != nil {
			return err
		}
		ctx, done := s.whileLed(ctx)
		defer done()
		sent = true
		r, err := s.client().Txn(ctx).If(compare...).Then(ops...).Commit()
		switch {
		case err == nil:
			ok, revision = r.Succeeded, r.Header.Revision
			return nil
		case errors.Is(context.Cause(ctx), ErrLeaderChanged):
			return ErrLeaderChanged
		}
		return s.explainTimeout(err)
	})
	if sent && err != nil && !refused(err) {
		err = fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	return ok, revision, err
}

// watch delivers everything that happens from revision on.
func (s *store) watch(ctx context.Context, revision int64) clientv3.WatchChan {
	if s.outside {
		ctx = clientv3.WithRequireLeader(ctx) // a member that is cut off from its own cluster says so
	}
	return s.client().Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(revision))
}

// close stops the server and gives the directory back. It may be called twice.
func (s *store) close() error {
	s.closeOnce.Do(func() {
		s.sessionMu.Lock()
		if s.session != nil && s.err() == nil {
			s.session.Orphan()
			ctx, cancel := context.WithTimeout(context.Background(), revokeTimeout)
			_, _ = s.client().Revoke(ctx, s.session.Lease()) // the locks end with the lease if this does not
			cancel()
		}
		s.sessionMu.Unlock()
		s.brake()
		wait := closeTimeout
		if s.fault.Load() != nil && !s.passing() {
			wait = brokenTimeout
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.use.Lock() // whoever reads a closed store may take the process with it
			s.run.Load().stop()
		}()
		select {
		case <-done:
			s.closeErr = s.lock.Close()
		case <-time.After(wait):
			// Only a store that met a fault hangs here. Unless its files can be closed, its
			// lock stays until the process ends.
			s.run.Load().peers.close()
			if s.passing() && s.abandon() {
				s.closeErr = s.lock.Close()
				return
			}
			s.closeErr = errors.Join(s.err(), fmt.Errorf("the store did not stop within %s: %w", wait, errStuck))
		}
	})
	return s.closeErr
}
