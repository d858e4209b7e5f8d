package start

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/internal/statedir"
)

// exampleName is the site that a newcomer installs first, and the folder that holds it.
const exampleName = "hello"

const examplePage = `<!doctype html>
<title>hello</title>
<h1>Hello</h1>
<p>Change this file, deploy the folder again, and reload.
`

// provideExample makes the folder of the example where it is missing; what somebody changed in it stays.
func (u *up) provideExample() (string, error) {
	dir := filepath.Join(u.conf.Dir, exampleName)
	page := filepath.Join(dir, "index.html")
	if _, err := os.Stat(page); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the example: %w", err)
	}
	return dir, statedir.WriteWhole(page, func(w io.Writer) error {
		_, err := io.WriteString(w, examplePage)
		return err
	})
}

// announce says where everything is, and commands that work as they stand in this folder's shells.
func (u *up) announce(took time.Duration, servers int) error {
	example, err := u.provideExample()
	if err != nil {
		return err
	}
	http := "http://" + u.front.Addr("http")
	page := "https://" + u.front.AdminAddr().String() + "/stats"
	command := u.command + shell.DirFlag(u.environ, u.conf.Dir)
	_, err = fmt.Fprintf(u.out, `portico is up after %.1fs: a proxy and %s on this machine

  site    %-30s  reload it: the counter is in one server's memory
  stats   %-30s  account %s, password %s
          (the certificate is the cluster's own, so the browser asks once)

Try in another terminal, from this folder:
  # new visitors go elsewhere, those who are there stay; ready takes it back
  %s drain server-1
  # install a folder, this one or yours
  %s deploy %s %s --host %s.localhost
  # watch it
  %s top

Ctrl-C stops it; the state stays in %s
`, took.Seconds(), screen.Plural(servers, "application server"), http+"/", page, upAccount, u.state.Password,
		command, command, exampleName, shell.FromHere(example), exampleName, command, u.conf.Dir)
	return err
}
