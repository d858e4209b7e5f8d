// Command vuln asks the database of the Go project whether the program calls a function with a known
// vulnerability. A machine that cannot reach the database cannot know: the command says so and ends well.
//
//	go run ./tests/vuln
//
// GOVULNDB names another database, as for govulncheck.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	checker  = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"
	database = "https://vuln.go.dev"
)

func main() {
	db := cmp.Or(os.Getenv("GOVULNDB"), database)
	if err := reach(db); err != nil {
		fmt.Printf("left out: libraries are not checked for known vulnerabilities (%v)\n", err)
		return
	}
	cmd := exec.Command("go", "run", checker, "-db", db, "./cmd/portico")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		if code := (&exec.ExitError{}); errors.As(err, &code) {
			os.Exit(code.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

// reach returns why the database does not answer. One in a folder is the checker's affair.
func reach(db string) error {
	if !strings.HasPrefix(db, "http") {
		return nil
	}
	client := &http.Client{Timeout: 15 * time.Second}
	answer, err := client.Get(strings.TrimSuffix(db, "/") + "/index/db.json")
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", db, answer.Status)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
