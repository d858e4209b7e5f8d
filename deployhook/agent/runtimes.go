package agent

import (
	"context"
	"net"
	"os/exec"
	"regexp"
	"sync"
	"time"

	"portico/deployhook/agent/portowner"
	"portico/deployhook/agent/tomcat"
)

// runtimeTime is how long one program may take to tell its version.
const runtimeTime = 5 * time.Second

// runtimeCommands tell versions.
var runtimeCommands = []struct {
	name string
	argv []string
}{
	{"php", []string{"php", "-v"}},
	{"node", []string{"node", "--version"}},
	{"java", []string{"java", "-version"}},
	{"dotnet", []string{"dotnet", "--version"}},
	{"python", []string{"python3", "--version"}},
	{"ruby", []string{"ruby", "--version"}},
}

var versionPattern = regexp.MustCompile(`\d+(\.\d+)+`)

// askManager is how long Tomcat's Manager may take for the same.
const askManager = 2 * runtimeTime

// Runtimes returns what is installed on this machine that sites may need, by
// name with its version; everything is asked side by side, for ten seconds at most. tomcat is
// there when its files are, or, where a Manager is named, when that answers, and no site of such
// an agent in its place.
func Runtimes(ctx context.Context, o Options) map[string]string {
	found := make(map[string]string)
	var mu sync.Mutex
	var wg sync.WaitGroup
	note := func(name, text string) {
		if v := versionPattern.FindString(text); v != "" {
			mu.Lock()
			defer mu.Unlock()
			found[name] = v
		}
	}
	for _, c := range runtimeCommands {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, runtimeTime)
			defer cancel()
			if out, err := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...).CombinedOutput(); err == nil {
				note(c.name, string(out))
			}
		})
	}
	if o.Tomcat.ManagerURL == "" {
		if h, err := tomcat.Find(o.Tomcat.Home); err == nil {
			note("tomcat", h.Version)
		}
	}
	if o.Tomcat.ManagerURL != "" {
		wg.Go(func() {
			d := portowner.Dialer{Dialer: net.Dialer{Timeout: dialTime}}
			if sites, err := o.siteUsers(); err == nil && portowner.Check() == nil {
				d.Allow = sites.None
			}
			m := tomcat.NewManager(o.Tomcat, d.DialContext)
			defer m.Close()
			ctx, cancel := context.WithTimeout(ctx, askManager)
			defer cancel()
			if v, err := m.ServerInfo(ctx); err == nil {
				note("tomcat", v)
			}
		})
	}
	wg.Wait()
	return found
}
