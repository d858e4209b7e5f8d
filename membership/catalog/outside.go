package catalog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"

	"portico/internal/zapslog"
)

// Outside names an etcd that somebody else runs, to be used in place of the
// embedded one. All proxies of a cluster name the same one, with the same prefix
// and the same key for the secrets.
type Outside struct {
	Endpoints []string // URLs with https; any of its members will do
	CA        string   // PEM file with the roots of its certificates; empty: the system's
	Cert, Key string   // PEM files of the certificate shown to it; both or neither; read again when they change
	Prefix    string   // of every key, such as "portico/"; what lies beside it is not touched
}

// What an outside store is set to, and why.
const (
	outsideDial  = 5 * time.Second  // to reach one endpoint
	outsideAlive = 10 * time.Second // silence after which a connection is tried, and again that long until it counts as dead

	// needOps is asked for at the start: etcd's own default of 128 comparisons or
	// writes in a transaction is less than some changes need.
	needOps = maxOps
)

// secretCheck is a secret that nobody uses: it is there from the first moment on, so
// that two proxies with two keys never begin a cluster together.
const secretCheck = "check"

// openOutside connects to an outside etcd. It does not wait for it: without an
// answer the catalog serves what it remembers.
func openOutside(o Options) (*store, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &store{o: o, logger: o.Logger, lock: lock, held: map[string]*held{}, outside: true}
	s.broken, s.brake = context.WithCancel(context.Background())
	if err := s.connect(o); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return s, nil
}

// openAny opens the store that the options name.
func openAny(o Options, view func() *View) (*store, error) {
	if err := otherHome(o); err != nil {
		return nil, err
	}
	if o.Outside != nil {
		return openOutside(o)
	}
	return openStore(o, view)
}

// lockDir keeps a second process out of a catalog's folder.
func lockDir(dir string) (*fileutil.LockedFile, error) {
	lock, err := fileutil.TryLockFile(filepath.Join(dir, "lock"), os.O_WRONLY|os.O_CREATE, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, fmt.Errorf("%w: %s belongs to a running portico; stop it or use another --dir", ErrLocked, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return lock, nil
}

func (s *store) connect(o Options) error {
	config, err := o.Outside.tls()
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: o.Outside.Endpoints, TLS: config,
		DialTimeout: outsideDial, DialKeepAliveTime: outsideAlive, DialKeepAliveTimeout: outsideAlive,
		PermitWithoutStream: true, MaxCallSendMsgSize: 2 * maxRequest,
		Logger: zapslog.New(slog.New(newQuiet(o.Logger.Handler()))),
	})
	if err != nil {
		return fmt.Errorf("connect to the catalog's etcd: %w", err)
	}
	client.KV = namespace.NewKV(client.KV, o.Outside.Prefix)
	client.Watcher = namespace.NewWatcher(client.Watcher, o.Outside.Prefix)
	client.Lease = namespace.NewLease(client.Lease, o.Outside.Prefix)
	s.run.Store(&running{client: client})
	return nil
}

// Check reports what is wrong with the files, as far as can be told without the etcd.
func (o *Outside) Check() error {
	_, err := o.tls()
	return err
}

// tls returns the client's side. The certificate is read at each handshake, so
// that one that was renewed is used without a restart.
func (o *Outside) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("read catalog.ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: catalog.ca: there is no certificate in %s", ErrInvalid, o.CA)
		}
	}
	if o.Cert == "" {
		return config, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("read catalog.cert and catalog.key: %w", err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return config, nil
}

// otherHome refuses to begin anew elsewhere while the folder holds the catalog of a
// cluster: changing the setting does not move what is in it.
func otherHome(o Options) error {
	embedded, remembered := filepath.Join(o.Dir, "etcd"), filepath.Join(o.Dir, fileRemembered)
	there := func(path string) bool { _, err := os.Stat(path); return !errors.Is(err, fs.ErrNotExist) }
	switch {
	case o.Outside != nil && there(embedded) && !there(remembered):
		return fmt.Errorf("%w: %s is the embedded catalog of a cluster, which catalog.endpoints would leave behind: take the setting out, or move that folder away to begin with what the outside etcd holds", ErrConflict, embedded)
	case o.Outside == nil && there(remembered) && !there(embedded):
		return fmt.Errorf("%w: the catalog of this proxy lies in an outside etcd: set catalog.endpoints again, or remove %s to begin a new cluster", ErrConflict, remembered)
	}
	return nil
}

// checkLimits warns of an etcd that will not take large changes.
func (c *Catalog) checkLimits(ctx context.Context) {
	many := make([]clientv3.Cmp, needOps)
	for i := range many {
		many[i] = clientv3.Compare(clientv3.Version(keySettings), ">", -1)
	}
	_, _, err := c.store.Load().transact(ctx, many, nil)
	if errors.Is(err, rpctypes.ErrTooManyOps) {
		c.logger.Warn("the catalog's etcd refuses large changes: start it with --max-txn-ops 16384 and --max-request-bytes 4194304, or clusters of more than a few dozen instances cannot be changed as a whole")
	}
}

// explainOutside adds to an error of an outside etcd what helps.
func (s *store) explainOutside(err error) error {
	switch {
	case !s.outside:
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: start the catalog's etcd with --max-txn-ops %d", err, maxOps)
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("%w: start the catalog's etcd with --max-request-bytes %d", err, maxRequest)
	}
	return err
}

// wrongKey says which file to copy when the secrets of a cluster do not open.
func (c *Catalog) wrongKey(err error) error {
	if c.o.Outside == nil || !errors.Is(err, ErrWrongKey) {
		return err
	}
	return fmt.Errorf("%w: every proxy of a cluster needs the same identity/catalog.key: copy that of another proxy, mode 0600, over this proxy's, and start again (%s)",
		err, strings.Join(c.o.Outside.Endpoints, ", "))
}

// progressEvery is how often a change that waits for its view asks the etcd how
// far its watch is.
const progressEvery = 50 * time.Millisecond

// askProgress has the watch tell its revision until the returned function is
// called: keys beside ours move the etcd's revision on without an event for us.
func (s *store) askProgress(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx)) // as the watch: the stream goes by it
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = s.client().RequestProgress(ctx) // an etcd that is away is met by whoever waits
			}
		}
	}()
	return func() { cancel(); <-done }
}

// storedWait is how long a read of what is also remembered waits for the etcd.
const storedWait = 2 * time.Second

// stored reads a key of the storage, from memory while an outside etcd does not
// answer: a proxy that starts then has its certificates.
func (c *Catalog) stored(ctx context.Context, key string) (it item, found bool, err error) {
	err = c.orRemembered(ctx, func(ctx context.Context) error {
		it, found, err = c.store.Load().get(ctx, key, c.alone())
		return err
	}, func() { it, found = c.memory.get(key) })
	return it, found, err
}

// storedUnder lists the keys of the storage under a prefix, likewise.
func (c *Catalog) storedUnder(ctx context.Context, prefix string) (items []item, err error) {
	err = c.orRemembered(ctx, func(ctx context.Context) error {
		items, _, err = c.store.Load().list(ctx, prefix, true, c.alone())
		return err
	}, func() { items = c.memory.list(prefix) })
	return items, err
}

// alone reports whether this proxy has no majority to ask, and so only its own copy.
func (c *Catalog) alone() bool { return c.o.Outside == nil && !c.HasLeader() }

func (c *Catalog) orRemembered(ctx context.Context, ask func(context.Context) error, recall func()) error {
	if c.memory == nil {
		return ask(ctx)
	}
	if c.memory.isDown() {
		recall()
		return nil
	}
	brief, cancel := context.WithTimeout(ctx, storedWait)
	defer cancel()
	err := ask(brief)
	if err != nil && ctx.Err() == nil && brief.Err() != nil {
		c.memory.failed()
		recall()
		return nil
	}
	return err
}

// Current returns the view with everything that any proxy has written by now, or the last
// known one when that does not come within two seconds.
func (c *Catalog) Current(ctx context.Context) *View {
	c.catchUp(ctx, nil)
	return c.View()
}

// catchUp brings the view to what any proxy has written by now, and reports whether it
// is another one than seen.
func (c *Catalog) catchUp(ctx context.Context, seen *View) bool {
	if c.memory != nil && c.memory.isDown() {
		return c.View() != seen
	}
	ctx, cancel := context.WithTimeout(ctx, storedWait)
	defer cancel()
	_ = c.Confirm(ctx) // a view that is old is better than none
	return c.View() != seen
}
