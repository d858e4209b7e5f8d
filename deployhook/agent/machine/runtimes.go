package machine

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
// there when its files are, or, where a Manager is named, when that answers, as a
// user that is allowed.
func Runtimes(ctx context.Context, o tomcat.Options, allow func(uid int) error) map[string]string {
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
	if o.ManagerURL == "" {
		if h, err := tomcat.Find(o.Home); err == nil {
			note("tomcat", h.Version)
		}
	}
	if o.ManagerURL != "" {
		wg.Go(func() {
			d := portowner.Dialer{Dialer: net.Dialer{Timeout: tomcat.DialTime}}
			if portowner.Check() == nil {
				d.Allow = allow
			}
			m := tomcat.NewManager(o, d.DialContext)
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
