// Command run runs go test and says what a person wants to know of it: a line for each package,
// every minute what is still running, what a failed test said when it fails, and at the end, where
// the screen stops, what failed and what was left out.
//
//	go run ./tests/run -race ./...
//
// Its arguments are those of go test, and so is its exit code.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// lookEvery is the time between two words on what is running.
const lookEvery = time.Minute

func main() {
	code, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		code = 1
	}
	os.Exit(code)
}

// run returns the exit code of go test.
func run(args []string, out io.Writer) (int, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	r := newReport(out)
	events := make(chan event)
	go func() {
		defer close(events)
		read(lines, events)
	}()
	r.follow(events)
	err = cmd.Wait()
	r.end()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// event is one of go test -json, see `go doc cmd/test2json`.
type event struct {
	Action, Package, Test, Output, FailedBuild string
}

// read sends every event; what is none is the output of no package.
func read(from io.Reader, to chan<- event) {
	in := bufio.NewReader(from)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				e = event{Action: "build-output", Output: string(line)}
			}
			to <- e
		}
		if err != nil {
			return
		}
	}
}
