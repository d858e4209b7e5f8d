// Package tomcat makes the files and the command line with which a site gets a Tomcat of
// its own: one JVM for one release of one site, run by whoever runs the site's processes.
// Where all sites share one Tomcat instead, it speaks with that one's Manager.
// It starts nothing and knows nothing of the agent.
package tomcat

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Home is where Tomcat's own files lie on this machine, which all sites read and none may
// write.
type Home struct {
	Dir     string // absolute; has bin/bootstrap.jar
	Version string // such as "10.1.34"
}

// ErrNotFound reports that there is no Tomcat on this machine.
var ErrNotFound = errors.New("no Tomcat is installed on this machine")

// places are looked at in this order, after $CATALINA_HOME: the newest of a distribution's
// first, then where people unpack the archive of the project.
var places = []string{
	"/usr/share/tomcat11", "/usr/share/tomcat10", "/usr/share/tomcat9", "/usr/share/tomcat",
	"/opt/tomcat", "/usr/local/tomcat", "/opt/homebrew/opt/tomcat/libexec", "/usr/local/opt/tomcat/libexec",
}

// Find returns the Tomcat in dir, or where dir is empty the one that $CATALINA_HOME names,
// else the first in the usual places. It needs bin/bootstrap.jar and lib/catalina.jar.
// ErrNotFound: there is none, and dir was empty.
func Find(dir string) (Home, error) {
	if runtime.GOOS == "windows" {
		return Home{}, fmt.Errorf("%w that sites can have for themselves: on Windows name the Manager of one that all share (agent.tomcat.url)", ErrNotFound)
	}
	if dir != "" {
		return open(dir)
	}
	if dir = os.Getenv("CATALINA_HOME"); dir != "" {
		return open(dir)
	}
	for _, dir := range places {
		if h, err := open(dir); err == nil {
			return h, nil
		}
	}
	return Home{}, ErrNotFound
}

func open(dir string) (Home, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return Home{}, fmt.Errorf("tomcat in %s: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(abs, "bin", "bootstrap.jar")); err != nil {
		return Home{}, fmt.Errorf("%s is no Tomcat: %w", dir, err)
	}
	v, err := version(filepath.Join(abs, "lib", "catalina.jar"))
	if err != nil {
		return Home{}, fmt.Errorf("%s is no Tomcat: %w", dir, err)
	}
	return Home{Dir: abs, Version: v}, nil
}

// version reads which Tomcat a catalina.jar is of.
func version(jar string) (string, error) {
	z, err := zip.OpenReader(jar)
	if err != nil {
		return "", err
	}
	defer z.Close()
	f, err := z.Open("org/apache/catalina/util/ServerInfo.properties")
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "server.number="); ok {
			return strings.TrimSuffix(strings.TrimSpace(v), ".0"), nil
		}
	}
	return "", errors.New("catalina.jar does not tell its version")
}

// configuration reads one of Tomcat's own files, which distributions keep in three places.
func (h Home) configuration(name string) ([]byte, error) {
	var first error
	for _, dir := range []string{filepath.Join(h.Dir, "conf"), filepath.Join(h.Dir, "etc"), filepath.Join("/etc", filepath.Base(h.Dir))} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			return b, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, fmt.Errorf("tomcat in %s has no %s: %w", h.Dir, name, first)
}

// Java returns the java command: that of JAVA_HOME in one of the environments, else the
// first in path.
func Java(path string, javaHomes ...string) (string, error) {
	for _, home := range javaHomes {
		if home == "" {
			continue
		}
		java := filepath.Join(home, "bin", "java")
		if _, err := os.Stat(java); err != nil {
			return "", fmt.Errorf("JAVA_HOME = %q has no java: %w", home, err)
		}
		return java, nil
	}
	for dir := range strings.SplitSeq(path, string(filepath.ListSeparator)) {
		java := filepath.Join(dir, "java")
		if fi, err := os.Stat(java); err == nil && filepath.IsAbs(dir) && !fi.IsDir() && fi.Mode()&0o111 != 0 {
			return java, nil
		}
	}
	return "", errors.New("there is no java on this machine: install one (on Debian default-jre-headless), or set JAVA_HOME in the site's env")
}
