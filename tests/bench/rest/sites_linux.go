package main

import (
	"fmt"
	"os"
	"path/filepath"

	"portico/tests/bench/cluster"
)

// deploy installs one site: every second one is a process, the others are files.
func deploy(c *cluster.Cluster, i int) error {
	name := fmt.Sprintf("site-%d", i+1)
	dir := filepath.Join(c.Dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	write := writeFiles
	if i%2 == 0 {
		write = writeProgram
	}
	if err := write(dir); err != nil {
		return err
	}
	_, err := c.Command("deploy", name, dir, "--host", name+".test")
	return err
}

func writeFiles(dir string) error {
	return os.WriteFile(filepath.Join(dir, "index.html"), []byte("at rest\n"), 0o600)
}

// writeProgram makes a site of which this program is the process.
func writeProgram(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "page"), program, 0o700); err != nil { // it is run
		return err
	}
	return os.WriteFile(filepath.Join(dir, "portico.toml"), fmt.Appendf(nil, "run = [%q, %q]\n", "./page", siteRole), 0o600)
}
