// Package confine runs a command as a systemd unit's file confines it, for tests
// on machines without systemd. It reads the shipped file, so that a test and the
// unit cannot drift.
package confine

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Unit is the [Service] section of a unit file: each setting's values, in order.
type Unit map[string][]string

// Read parses a unit file.
func Read(name string) (Unit, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	u, section := Unit{}, ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "", strings.HasPrefix(line, "#"), strings.HasPrefix(line, ";"):
		case strings.HasPrefix(line, "["):
			section = line
		case section == "[Service]":
			key, value, ok := strings.Cut(line, "=")
			if !ok || strings.HasSuffix(value, "\\") {
				return nil, fmt.Errorf("%s: %q is beyond this parser", name, line)
			}
			u[key] = append(u[key], value)
		}
	}
	return u, nil
}

// Capabilities returns those that the unit keeps, as setpriv(1) names them.
func (u Unit) Capabilities() []string {
	var caps []string
	for _, line := range u["CapabilityBoundingSet"] {
		for _, name := range strings.Fields(line) {
			caps = append(caps, strings.ToLower(strings.TrimPrefix(name, "CAP_")))
		}
	}
	return caps
}

// Privileges returns a command line that runs argv with the unit's capabilities
// and its NoNewPrivileges. It needs root and setpriv(1).
func (u Unit) Privileges(argv []string) ([]string, error) {
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		return nil, err
	}
	set := "-all"
	for _, c := range u.Capabilities() {
		set += ",+" + c
	}
	out := []string{setpriv, "--bounding-set=" + set, "--inh-caps=-all", "--ambient-caps=-all"}
	for _, v := range u["NoNewPrivileges"] {
		if v == "yes" || v == "true" {
			out = append(out, "--no-new-privs")
		}
	}
	return append(append(out, "--"), argv...), nil
}
