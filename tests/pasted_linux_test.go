package tests

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/tests/harness"
	"portico/tests/support/written"
)

var likeConfiguration = regexp.MustCompile(`^\s*(\[[a-z.]+\]|[a-z_]+ *= )`)

// TestBlocksRunAsPasted takes every block of the documents, in their order, on one cluster, and runs each line in a shell,
// as somebody would who pastes it. A line that cannot be run so stands in pastedLines with the reason; a
// block that is no command stands in pastedFiles.
func TestBlocksRunAsPasted(t *testing.T) {
	t.Parallel()
	p := newPaster(t)
	for _, doc := range heldDocuments {
		for _, b := range blocksOf(t, filepath.Join(harness.Root(), doc)) {
			if check := pastedFiles[doc+": "+b[0]]; check != nil {
				p.used[doc+": "+b[0]] = true
				check(p, b)
				continue
			}
			if likeConfiguration.MatchString(b[0]) {
				siteFile(p, b)
				continue
			}
			for _, line := range commandsOf(b) {
				p.run(doc, line)
			}
			if t.Failed() {
				return
			}
		}
	}
	for key := range pastedLines {
		if !p.used[key] {
			t.Errorf("pastedLines has %q, which is in no document", key)
		}
	}
	for key := range pastedFiles {
		if !p.used[key] {
			t.Errorf("pastedFiles has %q, which is in no document", key)
		}
	}
}

// blocksOf are the blocks of code of a document: fenced, or four more spaces than the text around them.
func blocksOf(t *testing.T, file string) (blocks [][]string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var block []string
	fenced, before := false, ""
	for _, line := range append(strings.Split(string(data), "\n"), "") {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		indented := strings.HasPrefix(line, "    ") && (before == "" || len(block) > 0)
		switch {
		case !fence && (fenced || indented):
			block = append(block, strings.TrimPrefix(line, "    "))
		case !fence && line == "" && len(block) > 0: // the next line may go on with it
			block = append(block, "")
		default:
			if text := strings.TrimRight(strings.Join(block, "\n"), "\n"); text != "" {
				blocks = append(blocks, strings.Split(text, "\n"))
			}
			block = nil
		}
		fenced, before = fenced != fence, line
	}
	if text := strings.TrimRight(strings.Join(block, "\n"), "\n"); text != "" {
		blocks = append(blocks, strings.Split(text, "\n"))
	}
	return blocks
}

// shellLine is a command of a block. host is the machine of its prompt.
type shellLine struct{ host, command string }

var prompt = regexp.MustCompile(`^([a-z0-9-]*)\$ +(.*)$`)

// commandsOf are the commands of a block. Where it shows prompts, the lines without one are what is printed.
func commandsOf(block []string) (commands []shellLine) {
	prompts := slices.ContainsFunc(block, prompt.MatchString)
	for _, line := range block {
		l := shellLine{command: line}
		if m := prompt.FindStringSubmatch(line); m != nil {
			l = shellLine{host: m[1], command: m[2]}
		} else if prompts {
			continue
		}
		l.command, _, _ = strings.Cut(l.command, " #")
		if l.command = strings.TrimSpace(l.command); l.command != "" {
			commands = append(commands, l)
		}
	}
	return commands
}

// paster is the machines at which the blocks are pasted.
type paster struct {
	t     *testing.T
	front *harness.Proxy
	here  string   // the folder of the shell
	env   []string // of every shell
	more  map[string][]string
	used  map[string]bool
	value map[string]string // what a placeholder stands for
}

func newPaster(t *testing.T) *paster {
	p := &paster{t: t, here: harness.TempDir(t), used: map[string]bool{}, more: map[string][]string{}, value: map[string]string{}}
	bin := filepath.Join(t.TempDir(), "bin")
	for _, dir := range []string{bin, p.here, filepath.Join(p.here, "folder"), filepath.Join(p.here, "shop")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(harness.Binary(t), filepath.Join(bin, "portico")); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "PORTICO_TLS_ACME="}
	for _, dir := range []string{"folder", "shop"} {
		p.file(dir+"/server.js", server)
		p.file(dir+"/portico.toml", manifest)
		p.file(dir+"/mark", dir)
	}
	return p
}

func (p *paster) file(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.here, name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// sh is a shell with a line.
func (p *paster) sh(ctx context.Context, host, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = p.here
	cmd.Env = append(append(harness.Env(p.t), p.env...), p.more[host]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// run pastes one line.
func (p *paster) run(doc string, l shellLine) {
	p.t.Helper()
	key := doc + ": " + l.command
	h := pastedLines[key]
	p.used[key] = true
	if h.not != "" {
		return
	}
	if h.before != nil {
		h.before(p)
	}
	line := l.command
	for _, name := range h.as {
		if p.value[name] == "" {
			p.t.Fatalf("%s: nothing stands for %s", key, name)
		}
		line = strings.ReplaceAll(line, name, p.value[name])
	}
	if h.start != nil {
		h.start(p, line)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd, out := p.sh(ctx, cmp.Or(l.host, h.at), line), &written.Buffer{}
	var err error
	switch {
	case h.typed != "":
		var shown string
		shown, err = harness.Type(p.t, cmd, h.typed)
		fmt.Fprint(out, shown)
	case h.until != "":
		err = p.follow(cmd, out, h.until)
	default:
		cmd.Stdout, cmd.Stderr = out, out
		err = cmd.Run()
	}
	if err != nil {
		p.t.Fatalf("%s\nis %s\nand ends with %v:\n%s", key, line, err, out)
	}
	if !strings.Contains(out.String(), h.says) {
		p.t.Errorf("%s\ndoes not say %q:\n%s", key, h.says, out)
	}
	if h.after != nil {
		h.after(p)
	}
}

// follow runs a command that does not end by itself until it has printed text, and presses Ctrl-C then.
func (p *paster) follow(cmd *exec.Cmd, out *written.Buffer, text string) error {
	p.t.Helper()
	cmd.Args[2] = "exec " + cmd.Args[2]
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	harness.Eventually(p.t, time.Minute, func() error {
		if !strings.Contains(out.String(), text) {
			return errf("%s does not print %q:\n%s", cmd.Args[2], text, out)
		}
		return nil
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) && exit.ExitCode() == 1 && strings.Contains(out.String(), "interrupted") {
		return nil
	} else {
		return err
	}
}
