package agent

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"portico/deployhook/agent/account"
	"portico/deployhook/agent/cgroup"
	"portico/deployhook/agent/health"
	"portico/deployhook/agent/listener"
	"portico/deployhook/agent/logs"
	"portico/deployhook/agent/members"
	"portico/deployhook/agent/portowner"
	"portico/deployhook/agent/ports"
	"portico/deployhook/agent/process"
	"portico/deployhook/agent/state"
	"portico/deployhook/agent/tomcat"
	"portico/deployhook/objects"
	"portico/internal/descriptors"
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
	ports *ports.Ports
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
	a := blank(o)
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
	a.connect()
	return a, nil
}

// blank is an agent that knows its options and nothing else.
func blank(o Options) *Agent {
	a := &Agent{
		o: o, log: o.Logger, root: account.IsRoot(), shim: process.ShimCommand(),
		ports:     ports.New(o.Ports),
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
	return a
}

// connect makes what the agent talks through: to other members, to proxies that come, to a shared Tomcat.
func (a *Agent) connect() {
	o := &a.o
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
}
