package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"portico/proxy/admin"
)

func newBackup(s *shared) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Write a backup of the catalog while the cluster runs",
		Long: `Write a backup of the catalog: sites, releases, members, accounts, certificates.

It does not hold the files of releases (objects/) nor this machine's keys
(identity/). Without identity/catalog.key the secrets in it cannot be read:
copy that file once, to a safe place.`,
		Args: cobra.NoArgs,
	}
	out := cmd.Flags().String("out", "", "file to write (required; - is standard output)")
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *admin.Client, _ []string) error {
		switch *out {
		case "":
			return usageError{errors.New("where to? give --out FILE, or --out -")}
		case "-":
			return c.Backup(cmd.Context(), cmd.OutOrStdout())
		}
		if err := writeWhole(*out, func(w io.Writer) error { return c.Backup(cmd.Context(), w) }); err != nil {
			return err
		}
		info, err := os.Stat(*out)
		if err != nil {
			return fmt.Errorf("look at the backup: %w", err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", *out, size(info.Size()))
		return nil
	})
	return cmd
}

// writeWhole writes a file that is there whole or not at all, readable by its
// owner alone.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".portico-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// emptyOrAbsent reports an error unless dir can take a restored catalog.
func emptyOrAbsent(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return usageError{fmt.Errorf("%s is not empty: restore goes into a new folder, so that nothing can be overwritten", dir)}
	}
	return nil
}
