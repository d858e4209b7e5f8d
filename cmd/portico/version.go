package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the release build (-ldflags "-X main.version=…").
var version = ""

// defaultVersion is that of a build without a tag. Members compare major.minor.
const defaultVersion = "0.1.0"

// buildVersion returns the version that members compare and pages show.
func buildVersion() string {
	if len(version) > 1 && version[0] == 'v' && version[1] >= '0' && version[1] <= '9' {
		return version[1:]
	}
	return defaultVersion
}

// buildCommit returns the commit that the binary was built from, or "".
func buildCommit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return ""
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "portico %s %s %s/%s %s\n",
				buildVersion(), buildCommit(), runtime.GOOS, runtime.GOARCH, runtime.Version())
			return err
		},
	}
}
