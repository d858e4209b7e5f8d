package tomcat

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

// Options say how sites of kind tomcat run on this machine: each in a JVM of its own
// out of the files in Home, or, with ManagerURL, all in the one Tomcat that answers there.
type Options struct {
	Home         string // folder with bin/bootstrap.jar; empty: $CATALINA_HOME, else the usual places
	ManagerURL   string // such as http://127.0.0.1:8080/manager
	User         string // an account with the role manager-script
	PasswordFile string // read at each use, its last line end is cut
}

// Manager speaks with Tomcat's Manager through its text interface
// (https://tomcat.apache.org/tomcat-10.1-doc/manager-howto.html).
type Manager struct {
	o      Options
	client *http.Client
}

// App is one line of the Manager's list.
type App struct {
	Context string // "/" for the root
	Version string // "" without
	State   string // "running" or "stopped"
}

const (
	// AnswerTime is how long the Manager may take for one question; deploys take as long as the
	// application's start.
	AnswerTime = 10 * time.Second
	// DialTime is how long a connection to it may take.
	DialTime   = 5 * time.Second
	answerMost = 4 << 20 // of an answer
)

// Dial connects to the Manager, which is told Tomcat's password.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// NewManager returns what speaks with the Manager that o names, over connections that d makes.
func NewManager(o Options, d Dial) *Manager {
	// People copy the address with or without the path of the text interface.
	o.ManagerURL = strings.TrimSuffix(strings.TrimRight(o.ManagerURL, "/"), "/text")
	return &Manager{o: o, client: &http.Client{
		Transport: &http.Transport{
			DialContext:           d,
			MaxIdleConnsPerHost:   2,
			IdleConnTimeout:       15 * time.Second, // below Tomcat's own 20 s
			ExpectContinueTimeout: time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close ends the connections to the Manager.
func (m *Manager) Close() { m.client.CloseIdleConnections() }

// Connector returns the host:port that answers requests.
func (m *Manager) Connector() (string, error) {
	u, err := url.Parse(m.o.ManagerURL)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("tomcat: manager URL %q: write it as http://127.0.0.1:8080/manager", m.o.ManagerURL)
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80"), nil
	}
	return u.Host, nil
}

func (m *Manager) password() (string, error) {
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
func (m *Manager) do(ctx context.Context, method, command string, q url.Values, body io.Reader) (string, error) {
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
	b, err := io.ReadAll(io.LimitReader(res.Body, answerMost))
	if err != nil {
		return "", fmt.Errorf("tomcat: read the Manager's answer to %s: %w", command, err)
	}
	return m.judge(command, res, string(b))
}

// judge turns an answer into a result or into an error with its remedy.
func (m *Manager) judge(command string, res *http.Response, text string) (string, error) {
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
		return "", &Refusal{command, strings.TrimPrefix(line, "FAIL - ")}
	}
	return rest, nil
}

// Refusal is what the Manager itself says went wrong.
type Refusal struct{ command, text string }

// Error implements error.
func (e *Refusal) Error() string {
	return fmt.Sprintf("tomcat: %s: %.300s", e.command, e.text)
}

// List returns the installed applications.
func (m *Manager) List(ctx context.Context) ([]App, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTime)
	defer cancel()
	text, err := m.do(ctx, http.MethodGet, "list", nil, nil)
	if err != nil {
		return nil, err
	}
	return parseList(text), nil
}

// parseList reads lines of "PATH:STATE:SESSIONS:NAME##VERSION".
func parseList(text string) []App {
	var apps []App
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		f := strings.SplitN(lines.Text(), ":", 4)
		if len(f) != 4 || !strings.HasPrefix(f[0], "/") {
			continue
		}
		a := App{Context: f[0], State: f[1]}
		if i := strings.LastIndex(f[3], "##"); i >= 0 {
			a.Version = f[3][i+2:]
		}
		apps = append(apps, a)
	}
	return apps
}

// versionDigits make version labels sort as numbers do: Tomcat compares text.
const versionDigits = 12

// NextVersion returns a label that sorts after all that are there.
func NextVersion(apps []App, context string) string {
	last := 0
	for _, app := range apps {
		if n, err := strconv.Atoi(app.Version); err == nil && app.Context == context {
			last = max(last, n)
		}
	}
	return fmt.Sprintf("%0*d", versionDigits, last+1)
}

// Deploy installs a WAR beside other versions at the same path and returns when
// the application has started.
func (m *Manager) Deploy(ctx context.Context, context, version string, war io.Reader) error {
	_, err := m.do(ctx, http.MethodPut, "deploy", appQuery(context, version), war)
	return err
}

// Undeploy removes one version. One that is not there is fine.
func (m *Manager) Undeploy(ctx context.Context, context, version string) error {
	_, err := m.do(ctx, http.MethodGet, "undeploy", appQuery(context, version), nil)
	var f *Refusal
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

// ServerInfo returns Tomcat's version, such as "10.1.34".
func (m *Manager) ServerInfo(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTime)
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
