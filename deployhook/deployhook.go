package deployhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"portico/conf"
	"portico/deployhook/archive"
	"portico/deployhook/history"
	"portico/deployhook/logs"
	"portico/deployhook/objects"
	"portico/deployhook/presence"
	"portico/deployhook/wanted"
	"portico/membership/catalog"
)

// Options are what the package needs of the rest of the program. Catalog,
// Objects and Dir are required.
type Options struct {
	Catalog *catalog.Catalog
	Objects *objects.Store
	Dir     string      // uploads are spooled below it, in "uploads"
	Name    string      // this proxy's member name
	Upload  conf.Upload // limits; zero fields mean conf.Default
	Logger  *slog.Logger

	// Actor returns the account that a request was authenticated for, "" if
	// none was, which refuses the request. Required by Archive.
	Actor func(context.Context) string

	// Load returns what this proxy holds for an instance: live sessions, idle
	// ones too, and requests under way. While known is false there may be more
	// sessions than it has counted, because it has not been up for long. Nil: nothing is
	// ever held.
	Load func(instanceID string) (sessions, inflight int, known bool)

	// Loss returns what some instances hold here, in more detail than Load. Nil:
	// Load is all that is known. MoveQuiet marks those of their sessions that
	// were not used for so long, to be placed elsewhere with their next request, and returns how
	// many are newly marked. Nil: none is.
	Loss      func(instances []*catalog.Instance) Loss
	MoveQuiet func(instances []*catalog.Instance, quiet time.Duration) int

	// Failed returns why visitors lose their sessions at an instance because it does
	// not work here any more, as they are told it, or "" while it works. Nil: the agents' word is enough.
	Failed func(instanceID string) string

	// InRotation reports whether this proxy's own checks of an instance pass, so
	// that visitors can be sent there. Nil: the agents' word is enough.
	InRotation func(instanceID string) bool

	// Alive is gossip's hint about a member. Nil: everybody is alive. What an
	// agent itself lets hear wins over it.
	Alive func(member string) bool

	// Leaving is called with each report: whether the member's agent goes for a moment while
	// its instances stay. Nil: nobody cares.
	Leaving func(member string, leaving bool)

	// Agent returns a client for a service of a member's agent ("agent",
	// "objects") and the URL to put in front of a path. Required by Logs.
	Agent func(m catalog.Member, service string) (*http.Client, string, error)

	// Peer returns a client for another proxy and the URL to put in front of a path.
	// Nil: there are no other proxies.
	Peer func(m catalog.Member) (*http.Client, string, error)

	// AnswerPeer answers what another proxy asks with AskOthers. Nil: nothing.
	AnswerPeer func(what string, in json.RawMessage) (any, error)

	// grace is how long an object that no release refers to stays on disk; 0: objects.DefaultGrace.
	grace time.Duration
}

// Deployer takes uploads, walks deploys and answers agents. Start begins its
// work, Close ends it.
type Deployer struct {
	o       Options
	logger  *slog.Logger
	spool   string
	started time.Time

	drains   map[string]*watched             // of the controller's goroutine
	placed   map[string]placedSite           // by site, of those that were looked at; of the same
	deploys  map[string]time.Time            // when it saw those that run first; of the same
	leads    atomic.Pointer[context.Context] // ends with this proxy's lead; nil while another walks deploys
	walked   context.Context                 // the lead that the controller's last turn was of
	others   *others
	mirrored map[string]bool // releases that are here whole; of mirror's goroutine
	askNow   chan struct{}   // wakes watchOthers, capacity 1
	endedMu  sync.Mutex      // guards ended
	ended    []EndedDrain
	presence *presence.Presence
	logs     logs.Reader
	live     *live
	news     wanted.News
	history  *history.History
	uploads  chan struct{} // one token for each upload that may run
	unpacks  chan struct{} // one token for each archive that may be unpacked at a time

	ctx    context.Context // ends with Close; long requests look at it
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	poke   chan struct{} // wakes the controller, capacity 1
}

const (
	// maxUploads bounds connections that may be slow on purpose; more of them
	// are told to come again.
	maxUploads = 64
	// maxUnpacks bounds what uses a core and the disk at full speed.
	maxUnpacks = 2
)

// New prepares the spool folder and removes what a killed process left in it.
func New(o Options) (*Deployer, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Upload = uploadDefaults(o.Upload)
	if o.grace <= 0 {
		o.grace = objects.DefaultGrace
	}
	spool := filepath.Join(o.Dir, "uploads")
	if err := errors.Join(os.RemoveAll(spool), os.MkdirAll(spool, 0o700)); err != nil {
		return nil, fmt.Errorf("open deployer: %w", err)
	}
	d := &Deployer{
		o: o, logger: o.Logger, spool: spool, started: time.Now(),
		drains:   make(map[string]*watched),
		deploys:  make(map[string]time.Time),
		presence: presence.New(time.Now()),
		live:     newLive(),
		history:  history.New(),
		uploads:  make(chan struct{}, maxUploads),
		unpacks:  make(chan struct{}, maxUnpacks),
		poke:     make(chan struct{}, 1),
		others:   newOthers(time.Now()),
		mirrored: map[string]bool{},
		askNow:   make(chan struct{}, 1),
	}
	d.logs = logs.Reader{Catalog: o.Catalog, Agent: o.Agent, Silence: d.silence}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// Start begins to walk deploys. It must be called once at most.
func (d *Deployer) Start() {
	changed, unsubscribe := d.o.Catalog.Subscribe()
	d.wg.Go(func() {
		defer unsubscribe()
		d.run(changed)
	})
	d.wg.Go(d.collect)
	d.wg.Go(d.lead)
	if d.o.Peer != nil {
		d.wg.Go(d.watchOthers)
		d.wg.Go(d.mirror)
	}
}

// Close ends the controller and every request that waits here, and waits for
// both. It may be called twice.
func (d *Deployer) Close() error {
	d.once.Do(d.cancel)
	d.wg.Wait()
	return nil
}

// wake makes the controller look again soon.
func (d *Deployer) wake() {
	select {
	case d.poke <- struct{}{}:
	default:
	}
}

// during returns a context that ends with the request or with Close.
func (d *Deployer) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(d.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func uploadDefaults(u conf.Upload) conf.Upload {
	def := conf.Default().Upload
	if u.Archive <= 0 {
		u.Archive = def.Archive
	}
	if u.Unpacked <= 0 {
		u.Unpacked = def.Unpacked
	}
	if u.File <= 0 {
		u.File = def.File
	}
	if u.Files <= 0 {
		u.Files = def.Files
	}
	return u
}

// limits are those of the archives that this proxy takes.
func (d *Deployer) limits() archive.Limits {
	u := d.o.Upload
	return archive.Limits{Entries: u.Files, File: u.File.Bytes(), Total: u.Unpacked.Bytes()}
}
