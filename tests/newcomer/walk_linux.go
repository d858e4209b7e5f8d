package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"portico/tests/support/written"
)

// walk is one newcomer's way through one place.
type walk struct {
	*site
	env         []string
	http, admin string // where the first command is to listen: two of these may run at a time
}

// greeted is what up prints when it is there.
const greeted = "Ctrl-C stops it"

var password = regexp.MustCompile(`account (\S+), password (\S+)`)

// firstCommand runs argv, which is the README's first command, until its pages have answered, and ends it as a person does.
func (w *walk) firstCommand(ctx context.Context, argv ...string) error {
	p, err := w.start(argv)
	if err != nil {
		return err
	}
	defer p.kill()
	if err := p.until(ctx, greeted); err != nil {
		return err
	}
	if err := errors.Join(w.openSite(ctx), w.openPage(ctx, p.said.String())); err != nil {
		return fmt.Errorf("%w\n%s", err, p.said.Tail(40))
	}
	if state := "the state stays in " + w.path(w.state) + "\n"; w.state != "" && !strings.Contains(p.said.String(), state) {
		return fmt.Errorf("it does not say %q:\n%s", state, p.said.Tail(40))
	}
	interrupted := 0
	if strings.HasPrefix(w.first, "go run") && argv[0] == "sh" {
		interrupted = 1
	}
	if err := p.interrupt(ctx, interrupted); err != nil {
		return err
	}
	if !strings.Contains(p.said.String(), "the sites end with it") {
		return fmt.Errorf("Ctrl-C ends it without a word:\n%s", p.said.Tail(40))
	}
	return nil
}

// started is a command that runs in a place.
type started struct {
	cmd  *exec.Cmd
	said written.Buffer
	done chan struct{}
}

func (w *walk) start(argv []string) (*started, error) {
	all := w.command(argv...)
	p := &started{cmd: exec.Command(all[0], all[1:]...), done: make(chan struct{})}
	p.cmd.Env = append(w.env, "PORTICO_PROXY_HTTP="+w.http, "PORTICO_ADMIN_ADDRESS="+w.admin)
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell does, so that Ctrl-C reaches all of it
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { defer close(p.done); _ = p.cmd.Wait() }()
	return p, nil
}

// until waits until the command has said a word. It may take as long as it lives.
func (p *started) until(ctx context.Context, word string) error {
	for !strings.Contains(p.said.String(), word) {
		select {
		case <-p.done:
			return fmt.Errorf("it ended (%s):\n%s", p.cmd.ProcessState, p.said.Tail(40))
		case <-ctx.Done():
			return fmt.Errorf("it has not said %q: %w:\n%s", word, ctx.Err(), p.said.Tail(40))
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// interrupt is Ctrl-C: every process of the terminal gets the signal. The command ends with 0 or with that code: "go run" has
// one of its own then, 1, whatever the program ends with.
func (p *started) interrupt(ctx context.Context, interrupted int) error {
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("Ctrl-C does not end it: %w:\n%s", ctx.Err(), p.said.Tail(40))
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 && code != interrupted {
		return fmt.Errorf("Ctrl-C ended it with %s:\n%s", p.cmd.ProcessState, p.said.Tail(40))
	}
	return nil
}

// kill ends the command and with it every process of its place.
func (p *started) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// openSite visits the demonstration site twice: the counter goes on.
func (w *walk) openSite(ctx context.Context) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar}
	defer client.CloseIdleConnections()
	for n := 1; n <= 2; n++ {
		body, err := get(ctx, client, "http://"+w.http+"/?json")
		if err != nil {
			return err
		}
		var visit struct{ Views int }
		if err := json.Unmarshal([]byte(body), &visit); err != nil || visit.Views != n {
			return fmt.Errorf("visit %d of the site: %w: %s", n, err, body)
		}
	}
	return nil
}

// openPage opens the stats page with the login that up has printed.
func (w *walk) openPage(ctx context.Context, said string) error {
	login := password.FindStringSubmatch(said)
	if login == nil {
		return errors.New("it prints no login")
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	form := url.Values{"account": {login[1]}, "password": {login[2]}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+w.admin+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := answer(client, req); err != nil {
		return err
	}
	body, err := get(ctx, client, "https://"+w.admin+"/stats")
	if err == nil && !strings.Contains(body, "demo") {
		return fmt.Errorf("the stats page shows no demo:\n%.400s", body)
	}
	return err
}

func get(ctx context.Context, client *http.Client, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	return answer(client, req)
}

// answer is the body of an answer that says 200.
func answer(client *http.Client, req *http.Request) (string, error) {
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %.200s", req.Method, req.URL, resp.Status, body)
	}
	return string(body), err
}

// secondCommand runs the README's second command and shows on out what it says.
func (w *walk) secondCommand(ctx context.Context, out io.Writer, argv ...string) error {
	all := w.command(argv...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	said := &written.Buffer{}
	cmd.Env = w.env
	cmd.Stdout = io.MultiWriter(out, said)
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: it ends with\n%s", errors.Join(err, ctx.Err()), said.Tail(30))
	}
	return nil
}

// freeAddrs are addresses of loopback that nobody listens on.
func freeAddrs() (a, b string, err error) {
	one, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer one.Close()
	two, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer two.Close()
	return one.Addr().String(), two.Addr().String(), nil
}

// plainEnviron is what a newcomer's shell has: how this machine reaches module proxies, and nothing of its settings.
func plainEnviron() []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		own := strings.HasPrefix(name, "GO") || strings.HasPrefix(name, "PORTICO_") || strings.HasPrefix(name, "XDG_") || strings.HasPrefix(name, "MAKE")
		if !own && name != "HOME" && name != "USER" && name != "LOGNAME" && name != "MFLAGS" || name == "GOFLAGS" {
			env = append(env, kv)
		}
	}
	out, err := exec.Command("go", "env", "-json", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOTOOLCHAIN").Output()
	proxies := map[string]string{}
	if err == nil && json.Unmarshal(out, &proxies) == nil {
		for name, value := range proxies {
			env = append(env, name+"="+value)
		}
	}
	return env
}
