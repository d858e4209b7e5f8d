package tests

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"portico/tests/harness"
)

// TestComposeFile: the commands of docs/examples/compose.yaml, each in what the Dockerfile makes: a folder with the program and
// next to nothing else, as its user without a name and without rights, on a network of its own.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	harness.NeedRoot(t)
	for _, tool := range []string{"ip", "unshare", "chroot"} {
		harness.Need(t, tool)
	}
	commands := composeCommands(t)
	network, hosts := harness.NewNet(t), map[string]*container{}
	names := "127.0.0.1 localhost\n"
	for _, name := range []string{"proxy", "server-1", "server-2"} {
		hosts[name] = newContainer(t, network.Host(name))
		names += hosts[name].IP + " " + name + "\n"
	}
	for _, c := range hosts {
		write(t, c.root, "etc/hosts", names)
	}
	front := hosts["proxy"]
	p := front.start("proxy", commands["proxy"])
	fingerprint := regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	harness.Eventually(t, time.Minute, func() error {
		if !p.Running() {
			t.Fatalf("the proxy ended:\n%s", p.Log())
		}
		if !fingerprint.MatchString(p.Log()) {
			return errf("the proxy prints no fingerprint:\n%s", p.Log())
		}
		return nil
	})
	for _, name := range []string{"server-1", "server-2"} {
		if len(commands[name]) == 0 {
			t.Fatalf("the file has no service %s", name)
		}
		command := strings.ReplaceAll(strings.Join(commands[name], "\n"), "${PORTICO_FINGERPRINT:-}", fingerprint.FindString(p.Log()))
		hosts[name].start(name, strings.Split(command, "\n"))
	}
	for _, name := range []string{"server-1", "server-2"} {
		harness.Eventually(t, time.Minute, func() error {
			if r := front.run("accept", name); r.Code != 0 {
				return errf("accept %s: %s", name, r.Stderr)
			}
			return nil
		})
	}
	write(t, front.root, "tmp/site/index.html", "from a container")
	if r := front.run("deploy", "docs", "/tmp/site", "--host", "docs.test"); r.Code != 0 {
		t.Fatalf("deploy: %s%s", r.Stdout, r.Stderr)
	}
	v := harness.NewVisitor(t, net.JoinHostPort(front.IP, "80"), "docs.test")
	v.Client.Transport.(*http.Transport).DialContext = front.DialTo(net.JoinHostPort(front.IP, "80"))
	if _, body, err := visitOK(v, "/"); err != nil || string(body) != "from a container" {
		t.Errorf("the site answers %q, %v", body, err)
	}
	harness.Eventually(t, time.Minute, func() error { // a server is "ready, silent" until gossip has found it
		if r := front.run("members"); strings.Count(r.Stdout, " ready ") != 3 || strings.Contains(r.Stdout, "127.0.0.1") {
			return errf("the members are\n%s%s", r.Stdout, r.Stderr)
		}
		return nil
	})
}

// composeCommands are what the services run.
func composeCommands(t *testing.T) map[string][]string {
	t.Helper()
	commands, service := map[string][]string{}, ""
	for line := range strings.Lines(read(t, filepath.Join(harness.Root(), "docs", "examples", "compose.yaml"))) {
		if m := regexp.MustCompile(`^  ([a-z0-9-]+):\n$`).FindStringSubmatch(line); m != nil {
			service = m[1]
		}
		if m := regexp.MustCompile(`^    command: \[(.*)\]`).FindStringSubmatch(line); m != nil {
			for _, word := range strings.Split(m[1], ", ") {
				commands[service] = append(commands[service], strings.Trim(word, `"`))
			}
		}
	}
	return commands
}

// container is a host whose processes see nothing but what the image holds.
type container struct {
	*harness.Host
	t    *testing.T
	root string
	user string
}

// newContainer makes the folder that the Dockerfile's last stage makes. The tests' program is linked with the system's C
// library, which the image's is not: it is there as well.
func newContainer(t *testing.T, h *harness.Host) *container {
	t.Helper()
	file := read(t, filepath.Join(harness.Root(), "Dockerfile"))
	user := regexp.MustCompile(`(?m)^USER (\d+:\d+)$`).FindStringSubmatch(file)
	if user == nil || !strings.Contains(file, "FROM scratch") || !strings.Contains(file, "--chown="+user[1]+" /rootfs/ /") {
		t.Fatal("the Dockerfile is another one: say here what it makes")
	}
	c := &container{Host: h, t: t, root: harness.TempDir(t), user: user[1]}
	for _, dir := range []string{"var/lib/portico", "etc/portico", "tmp", "proc", "dev", "etc/ssl/certs"} {
		if err := os.MkdirAll(filepath.Join(c.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	route := append(c.Command(), "ip", "route", "add", "default", "dev", "eth0") // by which a member finds its address
	if out, err := exec.Command(route[0], route[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	script := `cp "$1" portico
for lib in $(ldd "$1" | grep -o '/[^ ]*'); do cp --parents -L "$lib" .; done
chmod 1777 tmp
chown -R "$2" var/lib/portico etc/portico tmp`
	make := exec.Command("sh", "-c", script, "image", harness.Binary(t), c.user)
	make.Dir = c.root
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return c
}

// inside is what runs a program in the container. The program's path here is left out for the one there.
func (c *container) inside() []string {
	const script = `echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
cd "$0" && mount -t proc proc proc && mount -t tmpfs -o mode=755 dev dev
for d in null zero urandom; do touch dev/$d; mount --bind /dev/$d dev/$d; done
user=$1; shift 2
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin GODEBUG=netdns=go PORTICO_TLS_ACME= HOME=/ chroot --userspec="$user" --groups= "$0" /portico "$@"`
	return append(c.Command(), "unshare", "--mount", "--uts", "--ipc", "sh", "-e", "-c", script, c.root, c.user)
}

func (c *container) start(name string, args []string) *harness.Process {
	c.t.Helper()
	return harness.StartIn(c.t, c.inside(), name, nil, args...)
}

// run is docker compose exec.
func (c *container) run(args ...string) harness.Result {
	c.t.Helper()
	return harness.RunIn(c.t, c.inside(), nil, args...)
}
