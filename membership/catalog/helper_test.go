package catalog_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portico/membership/catalog"
	"portico/tests/support/etcdtest"
)

// helperEnv makes the test binary play another process: its value is what to do,
// then the directory.
const helperEnv = "PORTICO_CATALOG_HELPER"

func TestMain(m *testing.M) {
	etcdtest.Main()
	if job, dir, ok := strings.Cut(os.Getenv(helperEnv), ":"); ok {
		os.Exit(help(job, dir))
	}
	goleak.VerifyTestMain(m)
}

// jobs are those that not every system can do, by name.
var jobs = map[string]func(c *catalog.Catalog, dir string) int{}

// help is what the other process does. It says what it has done line by line.
func help(job, dir string) int {
	switch job {
	case "fill":
		limitFileSize(20 << 20) // a new database fits, and it cannot grow
	case "starve":
		limitFiles(200)
	case "tiny":
		limitFileSize(8 << 20) // the log fits, a new database does not
	}
	c, err := catalog.Open(context.Background(), catalog.Options{Dir: dir, Name: "proxy-1", Key: key, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("open")
	if more := jobs[job]; more != nil {
		return more(c, dir)
	}
	switch job {
	case "write", "fill":
		return helpWrite(c, job == "fill")
	case "starve":
		return helpStarve(c)
	case "resume":
		return helpResume(c)
	case "lock":
		if _, err := c.Lock(context.Background(), "job"); err != nil {
			fmt.Println("error", err)
			return 1
		}
		fmt.Println("locked")
		select {}
	}
	select {} // hold
}

// helpWrite writes sites until it is killed, or until the disk is full. In the
// latter case it says whether reads still work.
func helpWrite(c *catalog.Catalog, untilFull bool) int {
	pad := strings.Repeat("x", 500)
	if untilFull {
		pad = strings.Repeat("x", 30000)
	}
	for i := 0; ; i++ {
		name := fmt.Sprintf("site-%d", i)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		_, err := c.Update(ctx, func(tx *catalog.Tx) error {
			return tx.PutSite(catalog.Site{Name: name, Deploy: pad})
		})
		cancel()
		if err != nil {
			fmt.Println("refused", err)
			fmt.Println("view", c.View().Sites["site-0"] != nil, len(c.View().Sites) >= i)
			_, err := c.Update(context.Background(), func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: "more"}) })
			fmt.Println("again", errors.Is(err, catalog.ErrBroken)) // known, and not found out by waiting
			return 0
		}
		fmt.Println("wrote", name)
	}
}

// helpStarve writes until the catalog stops because there are no descriptors, tells what it is told then, and whether it can write once
// there are some again; twice.
func helpStarve(c *catalog.Catalog) int {
	change := 0 // no two are alike: one that changes nothing would not be refused, and the refused one may have been stored
	put := func(i int) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		change++
		_, err := c.Update(ctx, func(tx *catalog.Tx) error {
			return tx.PutSite(catalog.Site{Name: fmt.Sprintf("site-%d", i), Deploy: fmt.Sprintf("%030000d", change)})
		})
		return err
	}
	n := 0
	for range 2 {
		more := takeFiles(0)
		err := put(n)
		for err == nil {
			n++
			err = put(n)
		}
		fmt.Println("refused", n, errors.Is(err, catalog.ErrPassing), err)
		time.Sleep(2 * time.Second) // it looks more than once
		fmt.Println("still", put(n))
		more()
		for err = put(n); errors.Is(err, catalog.ErrPassing); err = put(n) {
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println("wrote", n, err, c.View().Sites[fmt.Sprintf("site-%d", n)] != nil)
		n++
		unlock, err := c.Lock(context.Background(), "job")
		if err == nil {
			unlock()
		}
		fmt.Println("locked", err)
	}
	return 0
}

// helpResume gives the directory back and opens it again with fewer and fewer descriptors to spare, until an attempt leaves
// the files open. It tells what came of that and stays.
func helpResume(c *catalog.Catalog) int {
	ctx := context.Background()
	limitFiles(200)
	put := func(name string) error {
		_, err := c.Update(ctx, func(tx *catalog.Tx) error { return tx.PutSite(catalog.Site{Name: name}) })
		return err
	}
	fmt.Println("wrote", put("a"))
	for spare := 8; spare >= 0; spare-- {
		if err := c.Suspend(); err != nil {
			fmt.Println("suspend", err)
			return 1
		}
		more := takeFiles(spare)
		first := c.Resume(ctx)
		more()
		if first == nil {
			continue
		}
		second := c.Resume(ctx)
		if second == nil {
			if err := put("b"); err != nil {
				fmt.Println("after a resume", err)
			}
			continue
		}
		fmt.Println("first", oneLine(first))
		fmt.Println("second", oneLine(second))
		fmt.Println("suspend", oneLine(c.Suspend()))
		fmt.Println("broken", errors.Is(c.Err(), catalog.ErrBroken), c.View().Sites["a"] != nil)
		select {}
	}
	fmt.Println("every attempt could be repeated")
	return 0
}

func oneLine(err error) string { return strings.ReplaceAll(fmt.Sprint(err), "\n", " ") }

// takeFiles opens what there is of descriptors but for some to spare, until more is called.
func takeFiles(spare int) (more func()) {
	var files []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		files = append(files, f)
	}
	for range min(spare, len(files)) {
		_ = files[0].Close()
		files = files[1:]
	}
	return func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
}

// child is another process that has the catalog open.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startChild(t *testing.T, job, dir string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperEnv+"="+job+":"+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd, bufio.NewScanner(out)}
	c.lines.Buffer(nil, 1<<20)
	t.Cleanup(c.kill)
	return c
}

// line returns the next thing that the child says, "" at its end.
func (c *child) line() string {
	c.lines.Scan()
	return c.lines.Text()
}

// kill ends the child as kill -9 does.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}
