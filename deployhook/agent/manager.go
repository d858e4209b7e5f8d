package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// manager speaks with Tomcat's Manager through its text interface
// (https://tomcat.apache.org/tomcat-10.1-doc/manager-howto.html).
type manager struct {
	o      TomcatOptions
	client *http.Client
}

// tomcatApp is one line of the Manager's list.
type tomcatApp struct {
	context  string // "/" for the root
	version  string // "" without
	state    string // "running" or "stopped"
	sessions int
}

const (
	managerTime = 10 * time.Second // of one question; deploys take as long as the application's start
	managerRead = 4 << 20          // of an answer
)

// dial connects to the Manager, which is told Tomcat's password.
type dial func(ctx context.Context, network, addr string) (net.Conn, error)

func newManager(o TomcatOptions, d dial) *manager {
	// People copy the address with or without the path of the text interface.
	o.ManagerURL = strings.TrimSuffix(strings.TrimRight(o.ManagerURL, "/"), "/text")
	return &manager{o: o, client: &http.Client{
		Transport: &http.Transport{
			DialContext:           d,
			MaxIdleConnsPerHost:   2,
			IdleConnTimeout:       15 * time.Second, // below Tomcat's own 20 s
			ExpectContinueTimeout: time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (m *manager) close() { m.client.CloseIdleConnections() }

// connector returns the host:port that answers requests.
func (m *manager) connector() (string, error) {
	u, err := url.Parse(m.o.ManagerURL)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("tomcat: manager URL %q: write it as http://127.0.0.1:8080/manager", m.o.ManagerURL)
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80"), nil
	}
	return u.Host, nil
}

func (m *manager) password() (string, error) {
	if m.o.PasswordFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(m.o.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("tomcat: read password: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// do sends one command and returns what the Manager says after "OK - ".
func (m *manager) do(ctx context.Context, method, command string, q url.Values, body io.Reader) (string, error) {
	password, err := m.password()
	if err != nil {
		return "", err
	}
	target := strings.TrimSuffix(m.o.ManagerURL, "/") + "/text/" + command
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return "", fmt.Errorf("tomcat: %w", err)
	}
	req.SetBasicAuth(m.o.User, password)
	if body != nil {
		// A wrong password should be told before the archive is sent.
		req.Header.Set("Expect", "100-continue")
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	res, err := m.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return "", fmt.Errorf("tomcat: the Manager at %s does not answer: %w: is Tomcat running, with the manager application, and is tomcat.manager right?", m.o.ManagerURL, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, managerRead))
	if err != nil {
		return "", fmt.Errorf("tomcat: read the Manager's answer to %s: %w", command, err)
	}
	return m.judge(command, res, string(b))
}

// judge turns an answer into a result or into an error with its remedy.
func (m *manager) judge(command string, res *http.Response, text string) (string, error) {
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return "", fmt.Errorf("tomcat: the Manager refuses user %q: give conf/tomcat-users.xml a user with that name, the right password and the role manager-script", m.o.User)
	case http.StatusForbidden:
		return "", fmt.Errorf("tomcat: user %q may not use the Manager's text interface: give it the role manager-script (manager-gui is not enough), and let its RemoteAddrValve admit this address", m.o.User)
	case http.StatusNotFound:
		return "", fmt.Errorf("tomcat: there is no Manager at %s: install the manager application (on Debian the package tomcat10-admin)", m.o.ManagerURL)
	default:
		return "", fmt.Errorf("tomcat: the Manager answers %s to %s", res.Status, command)
	}
	rest, ok := strings.CutPrefix(text, "OK - ")
	if !ok {
		line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
		return "", &managerFailure{command, strings.TrimPrefix(line, "FAIL - ")}
	}
	return rest, nil
}

// managerFailure is what the Manager itself says went wrong.
type managerFailure struct{ command, text string }

func (e *managerFailure) Error() string {
	return fmt.Sprintf("tomcat: %s: %.300s", e.command, e.text)
}

// list returns the installed applications.
func (m *manager) list(ctx context.Context) ([]tomcatApp, error) {
	ctx, cancel := context.WithTimeout(ctx, managerTime)
	defer cancel()
	text, err := m.do(ctx, http.MethodGet, "list", nil, nil)
	if err != nil {
		return nil, err
	}
	return parseList(text), nil
}

// parseList reads lines of "PATH:STATE:SESSIONS:NAME##VERSION".
func parseList(text string) []tomcatApp {
	var apps []tomcatApp
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		f := strings.SplitN(lines.Text(), ":", 4)
		if len(f) != 4 || !strings.HasPrefix(f[0], "/") {
			continue
		}
		a := tomcatApp{context: f[0], state: f[1]}
		a.sessions, _ = strconv.Atoi(f[2])
		if i := strings.LastIndex(f[3], "##"); i >= 0 {
			a.version = f[3][i+2:]
		}
		apps = append(apps, a)
	}
	return apps
}

// versionDigits make version labels sort as numbers do: Tomcat compares text.
const versionDigits = 12

// nextVersion returns a label that sorts after all that are there.
func nextVersion(apps []tomcatApp, context string) string {
	last := 0
	for _, app := range apps {
		if n, err := strconv.Atoi(app.version); err == nil && app.context == context {
			last = max(last, n)
		}
	}
	return fmt.Sprintf("%0*d", versionDigits, last+1)
}

// deploy installs a WAR beside other versions at the same path and returns when
// the application has started.
func (m *manager) deploy(ctx context.Context, context, version string, war io.Reader) error {
	_, err := m.do(ctx, http.MethodPut, "deploy", appQuery(context, version), war)
	return err
}

// undeploy removes one version. One that is not there is fine.
func (m *manager) undeploy(ctx context.Context, context, version string) error {
	_, err := m.do(ctx, http.MethodGet, "undeploy", appQuery(context, version), nil)
	var f *managerFailure
	if errors.As(err, &f) && strings.Contains(f.text, "No context exists") {
		return nil
	}
	return err
}

func appQuery(context, version string) url.Values {
	q := url.Values{"path": {context}}
	if version != "" {
		q.Set("version", version)
	}
	return q
}

// serverInfo returns Tomcat's version, such as "10.1.34".
func (m *manager) serverInfo(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, managerTime)
	defer cancel()
	text, err := m.do(ctx, http.MethodGet, "serverinfo", nil, nil)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		// "Tomcat Version: [Apache Tomcat/10.1.34 (Debian)]"
		if _, v, ok := strings.Cut(line, "Apache Tomcat/"); ok {
			return strings.TrimRight(strings.Fields(v + " ")[0], "]"), nil
		}
	}
	return "", errors.New("tomcat: the Manager does not tell its version")
}
