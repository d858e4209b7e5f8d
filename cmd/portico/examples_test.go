package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestExamples: every command's help shows an example, and each is a command line that this
// program takes.
func TestExamples(t *testing.T) {
	used := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if !c.HasParent() || !c.IsAvailableCommand() || c.Name() == "help" || c.Name() == "completion" {
			return
		}
		name := strings.TrimPrefix(c.CommandPath(), "portico ")
		if _, ok := examples[name]; ok {
			used++
		}
		if c.Example == "" {
			t.Errorf("portico %s shows no example", name)
		}
		for line := range strings.Lines(c.Example) {
			words := shellWords(strings.TrimSpace(line))
			if len(words) == 0 || words[0] != "portico" {
				t.Errorf("portico %s: the example %q does not call it", name, line)
				continue
			}
			called, rest, err := newRoot(nil).Find(words[1:])
			if err != nil || !strings.HasPrefix(called.CommandPath(), c.CommandPath()) {
				t.Errorf("portico %s: the example %q calls %v: %v", name, line, called, err)
				continue
			}
			if err := called.ParseFlags(rest); err != nil {
				t.Errorf("portico %s: the example %q: %v", name, line, err)
			} else if err := called.ValidateArgs(called.Flags().Args()); err != nil {
				t.Errorf("portico %s: the example %q: %v", name, line, err)
			}
		}
	}
	walk(newRoot(nil))
	if used != len(examples) {
		t.Errorf("%d of %d examples belong to a command", used, len(examples))
	}
}

// shellWords splits a line as a shell does, as far as examples need it: quotes hold words together.
func shellWords(line string) []string {
	var words []string
	for i, part := range strings.Split(strings.ReplaceAll(line, "'", `"`), `"`) {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}
