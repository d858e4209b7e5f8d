package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/cgroup"
	"portico/deployhook/agent/folders"
	"portico/deployhook/agent/health"
	"portico/deployhook/agent/listener"
	"portico/deployhook/agent/logs"
	"portico/deployhook/agent/members"
	"portico/deployhook/agent/portowner"
	"portico/deployhook/agent/process"
	"portico/deployhook/agent/state"
	"portico/deployhook/agent/tomcat"
	"portico/deployhook/objects"
	"portico/internal/descriptors"
	"portico/internal/durable"
	"portico/internal/pause"
	"portico/membership/catalog/messages"
)

// Agent runs the sites of one application server.
type Agent struct {
	o     Options
	log   *slog.Logger
	root  bool // processes run as accounts of their own
	sites account.Users
	shim  []string

	groups *cgroup.Tree // nil: none here
	users  siteUsersAlive

	asksOwners bool // this system tells whose the other end of a connection is

	store *objects.Store
	ports *ports
	tom   *tomcat.Manager // nil: no Tomcat here
	lock  *state.Lock

	listener net.Listener
	web      *listener.Server
	traffic  *descriptors.Traffic
	room     health.Room
	members  *members.Members

	state *state.Store
	logs  *logs.Keeper

	mu        sync.Mutex // guards what follows
	wanted    messages.Wanted
	haveIt    bool // wanted is set
	units     map[unitKey]*unit
	instances map[string]*instance // the live ones, by id
	ended     []messages.InstanceReport
	stopOK    map[string]*stopWaiter // instances that wait for the proxies' word
	heard     map[string]time.Time   // proxy to when it last answered or connected
	closing   bool
	leaving   bool                         // with closing: the instances stay
	runtimes  map[string]string            // what is installed here; nil: not known yet
	hooks     map[string]*hookSite         // the active one of each hook site
	held      map[string]map[string]string // by site and kind of reason, why it is held back
	siteLocks map[string]*sync.Mutex       // one for each site whose folders are worked on

	dirty    chan struct{} // capacity 1: there is something to report
	incoming chan messages.Wanted
	checks   *health.Broadcast

	tidy    chan struct{}  // capacity 1: files may have become superfluous
	running sync.WaitGroup // loops of Serve
	working sync.WaitGroup // units
	stop    context.CancelFunc
	resumed chan struct{}   // closed by Serve
	stopped chan struct{}   // closed by Shutdown
	force   context.Context // ends when Shutdown may wait no longer
	hurry   context.CancelFunc
	once    sync.Once
	refused sync.Once // see groupsRefused
	shutErr error
}

// New opens the state directory, removes what a killed agent left half done and
// reads what ran before. Nothing is started before Serve.
func New(o Options) (*Agent, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Agent{
		o: o, log: o.Logger, root: account.IsRoot(), shim: process.ShimCommand(),
		ports:     newPorts(o.Ports),
		units:     make(map[unitKey]*unit),
		instances: make(map[string]*instance),
		stopOK:    make(map[string]*stopWaiter),
		heard:     make(map[string]time.Time),
		hooks:     make(map[string]*hookSite),
		held:      make(map[string]map[string]string),
		siteLocks: make(map[string]*sync.Mutex),
		dirty:     make(chan struct{}, 1),
		tidy:      make(chan struct{}, 1),
		incoming:  make(chan messages.Wanted),
		checks:    health.NewBroadcast(),
		resumed:   make(chan struct{}),
		stopped:   make(chan struct{}),
	}
	a.force, a.hurry = context.WithCancel(context.Background())
	if a.sites, err = account.UsersOf(o.SiteUser, o.AllowUsers); err != nil {
		return nil, err
	}
	if err := portowner.Check(); err != nil {
		a.log.Warn("who answers at a site's port cannot be asked here: another program of this machine could take one", "error", err)
	} else {
		a.asksOwners = true
	}
	a.logs = logs.NewKeeper(logs.Options{
		Dir: o.Dir, Member: o.Name, Limit: o.LogSize, Own: a.root, Logger: a.log, Stopped: a.stopped,
		Hold: func(site, reason string) { a.holdBack(site, heldForLog, reason) },
		Live: func(id string) bool { return a.reachable(id) != nil },
	})
	if err := a.open(); err != nil {
		if a.lock != nil {
			_ = a.lock.Close()
		}
		return nil, err
	}
	a.users.kill = a.killUser
	a.openGroups()
	a.members = members.New(o.members())
	a.traffic = descriptors.New(a.log)
	a.web = listener.New(listener.Options{
		TLS: o.ServerTLS, Identify: o.Identify, Logger: a.log, Traffic: a.traffic,
		Instance: a.reachable, Dialer: a.dialer, Heard: a.heardOf,
		Agent: http.HandlerFunc(a.serveAgent), Store: a.store, Shared: a.sharedWith,
	})
	if o.Tomcat.ManagerURL != "" {
		d := a.dialer(a.sites.None)
		d.Timeout = tomcat.DialTime
		a.tom = tomcat.NewManager(o.Tomcat, d.DialContext)
	}
	return a, nil
}

// open makes the folders, locks them, cleans them and reads the state.
func (a *Agent) open() error {
	var err error
	if a.lock = a.o.Lock; a.lock == nil {
		if a.lock, err = state.LockDir(a.o.Dir); err != nil {
			return err
		}
	}
	if err := state.MakeDir(filepath.Join(a.o.Dir, "sites"), 0o711); err != nil {
		return fmt.Errorf("open agent directory: %w", err)
	}
	if a.root {
		if _, err := folders.Unreachable(filepath.Join(a.o.Dir, "sites", "any")); err != nil {
			return fmt.Errorf("open agent directory: %w", err)
		}
	}
	if a.store, err = objects.Open(filepath.Join(a.o.Dir, "objects")); err != nil {
		return err
	}
	// Sites must not read one another's releases here.
	if err := os.Chmod(a.store.Dir(), 0o700); err != nil {
		return fmt.Errorf("open agent directory: %w", err)
	}
	if err := a.clean(); err != nil {
		return fmt.Errorf("clean agent directory: %w", err)
	}
	if a.state, err = state.Open(a.o.Dir, a.log); err != nil {
		return err
	}
	var known string
	a.state.Peek(func(s *state.File) { known = s.Cluster })
	if a.o.Cluster != "" && known != "" && a.o.Cluster != known {
		return fmt.Errorf("open agent directory %s: it belongs to cluster %s, not %s: use another --dir", a.o.Dir, known, a.o.Cluster)
	}
	return nil
}

// clean removes what was being written when an agent was killed. What it left deeper in a
// site's data goes when a folder is made there again.
func (a *Agent) clean() error {
	var errs []error
	for _, pattern := range []string{"agent/" + durable.Temporary, "sites/*/releases/*" + objects.TempSuffix, "sites/*/data/" + folders.SeedName} {
		names, _ := filepath.Glob(filepath.Join(a.o.Dir, pattern))
		for _, name := range names {
			errs = append(errs, folders.Remove(filepath.Dir(name), filepath.Base(name)))
		}
	}
	return errors.Join(errs...)
}

// Listen binds the mutual TLS listener. Without Options.Listen it does nothing.
func (a *Agent) Listen() error {
	if a.o.Listen == "" || a.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", a.o.Listen)
	if ap, rerr := net.ResolveTCPAddr("tcp", a.o.Listen); err != nil && rerr == nil && a.clearOwnPort(ap.Port) {
		l, err = net.Listen("tcp", a.o.Listen)
	}
	if err != nil {
		return fmt.Errorf("listen for proxies: %w: %s", err, a.listenRemedy(a.o.Listen))
	}
	a.listener = l
	return nil
}

// Resumed returns a channel that is closed when Serve has found what an agent before this one left
// running. An instance that was found is reachable by then.
func (a *Agent) Resumed() <-chan struct{} { return a.resumed }

// Addr returns the address that Listen bound, nil before.
func (a *Agent) Addr() net.Addr {
	if a.listener == nil {
		return nil
	}
	return a.listener.Addr()
}

// Serve converges on the wanted state and serves traffic until ctx ends or
// Shutdown is called. The instances run on until Shutdown.
func (a *Agent) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	if a.closing || a.stop != nil {
		a.mu.Unlock()
		return nil // shut down before it began, or begun already
	}
	a.stop = cancel
	a.running.Add(1) // Shutdown waits for this call
	a.mu.Unlock()
	defer a.running.Done()

	loops := sync.WaitGroup{}
	defer loops.Wait()
	live := a.adopt()
	if a.listener != nil {
		loops.Go(func() { a.web.Accept(ctx, a.listener) }) // who came before waits in the kernel's queue
	}
	a.resume(live)
	close(a.resumed)
	loops.Go(func() { a.askRuntimes(ctx) })
	loops.Go(func() { a.members.Poll(ctx, a.Wanted().Revision, a.incoming) })
	loops.Go(func() { a.sendReports(ctx) })
	loops.Go(func() { a.tidyLoop(ctx) })
	loops.Go(func() { a.logs.Run(ctx) })
	loops.Go(func() { a.watchDisk(ctx) })
	for {
		select {
		case w := <-a.incoming:
			a.follow(w)
		case <-ctx.Done():
			return nil
		}
	}
}

// Shutdown stops taking new work, tells the proxies that this member's
// instances are going, waits for the requests under way, stops the instances with
// their grace, and waits until everything has ended or ctx does; then what is left
// is killed. See Leave for an end that spares them. It may be called twice. Before Serve it
// ends nothing of what an agent before this one left: that is found by Serve, see Resumed.
func (a *Agent) Shutdown(ctx context.Context) error {
	a.once.Do(func() { a.shutErr = a.shutdown(ctx, errStopping) })
	return a.shutErr
}

func (a *Agent) shutdown(ctx context.Context, cause error) error {
	a.mu.Lock()
	if a.stop != nil { // what was adopted a moment ago has no unit yet that could end it
		a.mu.Unlock()
		select {
		case <-a.resumed:
		case <-ctx.Done():
		}
		a.mu.Lock()
	}
	a.closing, a.leaving = true, cause == errLeaving
	stop := a.stop
	a.mu.Unlock()
	close(a.stopped)
	defer context.AfterFunc(ctx, a.hurry)()
	if cause == errLeaving {
		a.leave(ctx)
	} else {
		a.sayGoodbye(ctx)
	}
	for _, u := range a.allUnits() {
		u.end(cause)
	}
	a.working.Wait()
	if stop != nil {
		stop()
	}
	if a.listener != nil {
		_ = a.listener.Close()
	}
	a.running.Wait()
	a.web.Close()
	a.members.Close()
	if a.tom != nil {
		a.tom.Close()
	}
	a.hurry()
	a.closeGroups()
	return a.lock.Close()
}

func (a *Agent) allUnits() []*unit {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]*unit, 0, len(a.units))
	for _, u := range a.units {
		list = append(list, u)
	}
	return list
}

// sayGoodbye reports that no instance is left, so that proxies send nothing new
// here, and waits for what is under way before the processes end.
func (a *Agent) sayGoodbye(ctx context.Context) {
	a.mu.Lock()
	none := len(a.instances) == 0 || !a.haveIt
	a.mu.Unlock()
	if none {
		return
	}
	told, cancel := context.WithTimeout(ctx, goodbyeTime)
	defer cancel()
	r := a.report()
	r.Instances = nil
	if _, err := a.members.Report(told, r); err != nil {
		a.log.Warn("proxies not told of the shutdown", "error", err)
		return
	}
	if pause.For(ctx, viewTime) == nil { // until every proxy has the view without them
		open := a.web.Watch()
		await(ctx, emptyTime, func() bool { return !open() })
	}
}

// viewTime is how long a change of the catalog takes to every proxy, and a request from the
// table before it to its instance.
const viewTime = 300 * time.Millisecond
