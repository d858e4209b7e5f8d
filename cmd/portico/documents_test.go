package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var (
	inText    = regexp.MustCompile("`(portico [a-z][^`]*)`")
	inBlock   = regexp.MustCompile(`(?m)^ {4,}(?:[a-z0-9-]*\$ +)?(portico [a-z].*)$`)
	flagAlone = regexp.MustCompile("`(--[a-z-]+)[^`]*`")
)

// TestDocumentedCommandsExist: every command line of the documents is one that this program takes,
// with its flags, and every command stands in some document.
func TestDocumentedCommandsExist(t *testing.T) {
	root := newRoot(nil)
	flags, named := map[string]bool{}, map[string]bool{}
	everyCommand(root, func(c *cobra.Command) {
		c.InitDefaultHelpFlag()
		c.Flags().VisitAll(func(f *pflag.Flag) { flags["--"+f.Name] = true })
	})
	for _, file := range documentFiles(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(file)
		for _, m := range append(inText.FindAllSubmatch(text, -1), inBlock.FindAllSubmatch(text, -1)...) {
			line, _, _ := strings.Cut(string(m[1]), " #")
			line = strings.TrimRight(line, " …")
			called, rest, err := root.Find(shellWords(line)[1:])
			if err == nil && called.HasSubCommands() && called.ParseFlags(rest) == nil {
				err = called.ValidateArgs(called.Flags().Args())
			}
			if err != nil || called == root {
				t.Errorf("%s: %q is no command: %v", base, line, err)
				continue
			}
			for c := called; c.HasParent(); c = c.Parent() {
				named[c.CommandPath()] = true
			}
			for _, word := range shellWords(line) {
				name, _, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
				if strings.HasPrefix(word, "--") && called.Flag(name) == nil {
					t.Errorf("%s: %q has the flag --%s, which %s does not", base, line, name, called.CommandPath())
				}
			}
		}
		for _, m := range flagAlone.FindAllSubmatch(text, -1) {
			if !flags[string(m[1])] && !others[string(m[1])] {
				t.Errorf("%s names %s, which no command has", base, m[1])
			}
		}
	}
	everyCommand(root, func(c *cobra.Command) {
		if c.HasParent() && c.IsAvailableCommand() && c.Name() != "help" && c.Name() != "completion" && c.Parent().Name() != "completion" && !named[c.CommandPath()] {
			t.Errorf("no document names %s", c.CommandPath())
		}
	})
}

// others are flags of other programs.
var others = map[string]bool{"--bind": true, "--max-txn-ops": true, "--max-request-bytes": true}

func everyCommand(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		everyCommand(sub, do)
	}
}

func documentFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d documents: %v", len(files), err)
	}
	return append(files, "../../README.md")
}
