// Package takeover lets a process hand its work to its successor while both run:
// the successor gets the listening sockets, so that the kernel's queues of connections are never
// without an owner, at the moment when it says that it is ready.
//
// They speak over a unix socket that the holder has in a folder of its own. Each makes sure that
// the other runs under its own account. The course of it, holder on the left:
//
//	Listen, Accept   <- hello      Ask
//	Give             -> sockets    (the holder has let go of what only one may have)
//	Ready            <- ready      Predecessor.Ready (it has everything, and does not serve yet)
//	Go               -> go         both serve for a moment; the holder stops accepting
//	Leave            -> file       Predecessor.Next (what is known only at the end)
//
// Until Go, whatever happens to the successor leaves the holder as the owner: a word of
// failure, and the end of its process, are the same. After Go there is no way back. A holder that
// dies meanwhile leaves everything to the successor.
//
// Linux and macOS can do it. Elsewhere Listen fails with errors.ErrUnsupported, and Ask finds nobody.
package takeover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Protocol is the version of what is said. Processes of different versions do not
// take over from each other.
const Protocol = 1

const (
	answerTime = time.Minute      // for the other end to do its part; a catalog may take ten seconds to close, and as long to open
	writeTime  = 10 * time.Second // for a message of some hundred bytes
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNobody: no process offers anything there.
	ErrNobody = errors.New("no process to take over from")
	// ErrGone: the process ended, or stopped offering, before it gave anything. Asking
	// again finds out which.
	ErrGone = errors.New("the process that was asked is ending")
	// ErrRevoked: the holder did not want to wait any longer and has taken everything back.
	ErrRevoked = errors.New("the former process has taken everything back")
)

// Who is what a process tells of itself.
type Who struct {
	Name    string `json:"name"`    // of the member
	Version string `json:"version"` // of the program
}

// Listener is where a holder hears those who want to succeed it.
type Listener struct {
	ln   *net.UnixListener
	path string
	who  Who
}

// Listen makes the socket, in place of one that an earlier process has left.
// Its path has at most about 100 bytes on most systems; the folder is the caller's, and nobody else
// may write to it.
func Listen(path string, who Who) (*Listener, error) {
	if !supported {
		return nil, fmt.Errorf("offer to be succeeded: %w", errors.ErrUnsupported)
	}
	// Made under another name and renamed, so that whoever asks meets the old one or the new one.
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("offer to be succeeded: %w", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("offer to be succeeded: %w", err)
	}
	ln.SetUnlinkOnClose(false) // it may be the successor's by then
	if err = os.Chmod(temp, 0o600); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = ln.Close()
		_ = os.Remove(temp)
		return nil, fmt.Errorf("offer to be succeeded: %w", err)
	}
	return &Listener{ln: ln, path: path, who: who}, nil
}

// Accept returns the next process that wants to take over. Those that may not, or make no sense, are
// turned away, with the reason in refused, which may be nil. It fails after Close.
func (l *Listener) Accept(refused func(error)) (*Successor, error) {
	for {
		c, err := l.ln.AcceptUnix()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil, err
			}
			time.Sleep(50 * time.Millisecond) // no descriptors: some will be free again
			continue
		}
		h, err := greet(&line{c: c}, l.who)
		if err == nil {
			return h, nil
		}
		if refused != nil {
			refused(err)
		}
	}
}

// greet reads who has come.
func greet(l *line, self Who) (*Successor, error) {
	pid, err := l.verify()
	if err != nil {
		l.close()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTime)
	defer cancel()
	m, err := l.receive(ctx)
	switch {
	case err != nil:
	case m.What != sayHello:
		err = fmt.Errorf("process %d says %q first", pid, m.What)
	case m.Protocol != Protocol:
		err = fmt.Errorf("process %d (%s) hands over by version %d of the protocol, this one (%s) by version %d: stop the running process first",
			pid, m.Who.Version, m.Protocol, self.Version, Protocol)
	case m.Who.Name != self.Name:
		err = fmt.Errorf("this folder is that of %q, and process %d calls itself %q: give it that name, or another folder", self.Name, pid, m.Who.Name)
	default:
		return &Successor{Who: m.Who, PID: pid, line: l}, nil
	}
	_ = l.send(message{What: sayRefused, Text: err.Error()})
	l.close()
	return nil, err
}

// Withdraw takes the socket out of the folder: whoever looks for it finds nobody.
// It is for a holder that ends without a successor; Close must follow.
func (l *Listener) Withdraw() { _ = os.Remove(l.path) }

// Close ends the offer. Those who have not been accepted find that the holder is
// gone. The socket in the folder stays: it may be another's by now.
func (l *Listener) Close() error { return l.ln.Close() }

// Successor is a process that takes over, as the holder sees it.
type Successor struct {
	Who  Who
	PID  int
	line *line
}

// Give hands the sockets over. The holder keeps them as well.
func (s *Successor) Give(self Who, sockets *Sockets) error {
	m := message{What: saySockets, Who: self, Protocol: Protocol}
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	var fds []int
	for name, k := range sockets.kept {
		m.Sockets = append(m.Sockets, socket{Name: name, Address: k.address})
		fds = append(fds, k.fd)
	}
	if err := s.line.send(m, fds...); err != nil {
		return fmt.Errorf("hand sockets to process %d: %w", s.PID, err)
	}
	return nil
}

// Ready waits until the successor has everything that it needs to serve. An error is its own
// word for what went wrong, or that it has ended.
func (s *Successor) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, fmt.Errorf("process %d was not ready within %s", s.PID, answerTime))
	defer cancel()
	m, err := s.line.receive(ctx)
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("process %d has ended", s.PID)
	case err != nil:
		return fmt.Errorf("wait for process %d: %w", s.PID, err)
	case m.What == sayFailed:
		return fmt.Errorf("process %d: %s", s.PID, m.Text)
	case m.What != sayReady:
		return fmt.Errorf("process %d says %q where it should be ready", s.PID, m.What)
	}
	return nil
}

// Go tells the successor to serve. When it returns nil, the holder must let go.
func (s *Successor) Go() error { return s.line.send(message{What: sayGo}) }

// Leave hands over a file that is known only now, such as what was counted since.
func (s *Successor) Leave(name string, f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = c.Control(func(fd uintptr) { sent = s.line.send(message{What: sayFile, Text: name}, int(fd)) })
	return errors.Join(err, sent)
}

// Word waits for what the successor has to say once it serves: to cut what leads to somebody who is not trusted any more,
// or, with the empty name, to end. It fails when the successor has ended.
func (s *Successor) Word(ctx context.Context) (cut string, err error) {
	m, err := s.line.receive(ctx)
	switch {
	case err != nil:
		return "", err
	case m.What == sayCut && m.Text != "":
		return m.Text, nil
	case m.What == sayEnd:
		return "", nil
	}
	return "", fmt.Errorf("process %d says %q", s.PID, m.What)
}

// Revoke takes everything back from a successor that did not become ready.
func (s *Successor) Revoke() { _ = s.line.send(message{What: sayRevoked}) }

// Close ends the conversation.
func (s *Successor) Close() { s.line.close() }

// Predecessor is the holder, as its successor sees it.
type Predecessor struct {
	Holder Who
	PID    int
	line   *line
	saying sync.Mutex
}

// Ask asks the process that listens at path for its work, and waits until that
// has let go of what only one may have. The sockets go into s.
func Ask(ctx context.Context, path string, self Who, s *Sockets) (*Predecessor, error) {
	if !supported {
		return nil, ErrNobody
	}
	conn, err := (&net.Dialer{Timeout: writeTime}).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), // none, or left by one that was killed
		errors.Is(err, syscall.EINVAL): // too long a path, for a holder as well
		return nil, ErrNobody
	case err != nil:
		return nil, fmt.Errorf("ask the running process at %s: %w", path, err)
	}
	c := &Predecessor{line: &line{c: conn.(*net.UnixConn)}}
	if err := c.ask(ctx, self, s); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (p *Predecessor) ask(ctx context.Context, self Who, s *Sockets) error {
	pid, err := p.line.verify()
	if err != nil {
		return err
	}
	p.PID = pid
	if err := p.line.send(message{What: sayHello, Protocol: Protocol, Who: self}); err != nil {
		return ErrGone
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime,
		fmt.Errorf("it did not answer within %s: end it", answerTime))
	defer cancel()
	m, err := p.line.receive(ctx)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return ErrGone
	case err != nil:
		return fmt.Errorf("take over from process %d: %w", pid, err)
	case m.What == sayRefused:
		return fmt.Errorf("take over from process %d: %s", pid, m.Text)
	case m.What != saySockets || len(m.fds) != len(m.Sockets):
		closeAll(m.fds)
		return fmt.Errorf("take over from process %d: it says %q with %d sockets where %d were announced", pid, m.What, len(m.fds), len(m.Sockets))
	}
	p.Holder = m.Who
	for i, sock := range m.Sockets {
		s.keep(sock.Name, sock.Address, m.fds[i])
	}
	return nil
}

// Ready tells the holder that this process can serve, and waits for its word to do
// so. Nil is also the answer of a holder that has died.
func (p *Predecessor) Ready(ctx context.Context) error {
	said := p.line.send(message{What: sayReady})
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, errors.New("the former process does not answer any more: end it"))
	defer cancel()
	m, err := p.line.receive(ctx) // also if it listens no more: its last word may be that it goes on
	switch {
	case err != nil && said != nil:
		return p.without(said)
	case err != nil:
		return p.without(err)
	case m.What != sayGo:
		return ErrRevoked
	}
	return nil
}

// without tells a holder that has died from other trouble.
func (p *Predecessor) without(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("take over from process %d: %w", p.PID, err)
}

// Fail tells the holder why this process does not take over. It must have let go of
// everything by then.
func (p *Predecessor) Fail(why error) { _ = p.line.send(message{What: sayFailed, Text: why.Error()}) }

// Next waits for what the former process leaves: a file with its name. It fails with
// io.EOF when that has ended.
func (p *Predecessor) Next(ctx context.Context) (name string, f *os.File, err error) {
	m, err := p.line.receive(ctx)
	if err != nil {
		return "", nil, err
	}
	if m.What != sayFile || len(m.fds) != 1 {
		closeAll(m.fds)
		return "", nil, fmt.Errorf("process %d says %q with %d files at its end", p.PID, m.What, len(m.fds))
	}
	return m.Text, os.NewFile(uintptr(m.fds[0]), m.Text), nil
}

// Cut tells the former process, which may serve what lasts for hours yet, that somebody is not trusted any more.
func (p *Predecessor) Cut(name string) error {
	p.saying.Lock()
	defer p.saying.Unlock()
	return p.line.send(message{What: sayCut, Text: name})
}

// End tells the former process to end with this one.
func (p *Predecessor) End() error {
	p.saying.Lock()
	defer p.saying.Unlock()
	return p.line.send(message{What: sayEnd})
}

// Close ends the conversation.
func (p *Predecessor) Close() { p.line.close() }
