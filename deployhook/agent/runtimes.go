package agent

import (
	"context"
	"os/exec"
	"regexp"
	"sync"
	"time"
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

// Runtimes returns what is installed on this machine that sites may need, by
// name with its version. tomcat is there when its Manager answers.
func Runtimes(ctx context.Context, t TomcatOptions) map[string]string {
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
	if t.ManagerURL != "" {
		wg.Go(func() {
			m := newManager(t)
			defer m.close()
			if v, err := m.serverInfo(ctx); err == nil {
				note("tomcat", v)
			}
		})
	}
	wg.Wait()
	return found
}
