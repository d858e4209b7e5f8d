package agent_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// swapMain plays a site that attacks its agent: until it is killed it exchanges names in its own
// folders for links, pipes, folders and hard links to what is in canary. It runs as the
// site's account and can do nothing else there.
func swapMain(config string) int {
	f := strings.Split(config, "\n") // seed, canary, folders
	seed, err := strconv.ParseUint(f[0], 10, 64)
	if err != nil || len(f) < 3 {
		fmt.Fprintln(os.Stderr, "swap: bad configuration", config)
		return 2
	}
	if err := os.Chdir(filepath.Dir(f[2])); err != nil {
		fmt.Fprintln(os.Stderr, "swap:", err)
		return 2
	}
	s := swapper{rand.New(rand.NewPCG(seed, 1)), f[1], f[2:]}
	fmt.Println("swapping")
	for {
		for range 1 + s.IntN(40) {
			s.once()
		}
		time.Sleep(time.Duration(s.IntN(2000)) * time.Microsecond) // the agent is to get somewhere
	}
}

type swapper struct {
	*rand.Rand
	canary  string
	folders []string
}

// swapNames are those that the agent is told to make, and those that it could use
// on the way there.
var swapNames = []string{"a", "a/b", "a/b/c", "x", "x.tmp", "new", "new.tmp", "shadow", "shadow/x", ".portico-seed", ".portico-seed/x", ".portico-seed/new", "secret", "a/secret", "x/secret"}

func (s *swapper) name() string {
	return filepath.Join(s.folders[s.IntN(len(s.folders))], swapNames[s.IntN(len(swapNames))])
}

// once does one thing at random; most of them fail, as somebody else was faster.
func (s *swapper) once() {
	name := s.name()
	inCanary := filepath.Join(s.canary, []string{"", "shadow", "x", "a", "a/b", "closed", "secret", "x/secret"}[s.IntN(8)])
	switch s.IntN(12) {
	case 0, 1:
		_ = os.Symlink(inCanary, name)
	case 2:
		_ = os.Symlink(strings.Repeat("../", 1+s.IntN(12))+strings.TrimPrefix(inCanary, "/"), name)
	case 3:
		_ = syscall.Mkfifo(name, 0o666)
	case 4:
		_ = os.Link(filepath.Join(s.canary, "common"), name)
	case 5, 6:
		_ = os.Mkdir(name, 0o777)
	case 7, 8, 9:
		_ = os.Rename(s.name(), name)
	case 10:
		// Anew only: what all may write is not to be changed by this test.
		if f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666); err == nil {
			_, _ = f.WriteString("own")
			_ = f.Close()
		}
	default:
		_ = os.RemoveAll(name) // its own; what the agent made for it as well
	}
	if s.IntN(4) == 0 { // a link in place of what is there, in one step
		link := filepath.Join(s.folders[0], "link"+strconv.Itoa(s.IntN(4)))
		_ = os.Symlink(inCanary, link)
		_ = os.Rename(link, name)
	}
}
