package client

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"portico/certs"
	"portico/cmd/portico/screen"
	"portico/cmd/portico/shell"
	"portico/internal/exitcode"
	"portico/internal/statedir"
	"portico/membership"
	"portico/membership/catalog"
	"portico/proxy/admin/apiclient"
)

// NewBackup makes the command portico backup.
func NewBackup(s *shell.Call) *cobra.Command {
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
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		switch *out {
		case "":
			return exitcode.Misuse(errors.New("where to? give --out FILE, or --out -"))
		case "-":
			return c.Backup(cmd.Context(), cmd.OutOrStdout())
		}
		if err := statedir.WriteWhole(*out, func(w io.Writer) error { return c.Backup(cmd.Context(), w) }); err != nil {
			return err
		}
		info, err := os.Stat(*out)
		if err != nil {
			return fmt.Errorf("look at the backup: %w", err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", *out, screen.Size(info.Size()))
		return nil
	})
	return cmd
}

// NewRestore makes the command portico restore.
func NewRestore(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a new state folder from a backup; start a proxy on it afterwards",
		Long: `Make a new state folder (--dir) from a backup. The proxy that is started on it is
the cluster's only one; application servers find it again under its address.

--key is the catalog.key of the proxy that wrote the backup: without it neither
the authority nor the certificates can be read. Where the rest of that proxy's folder
identity lies beside it, it is taken along: application servers know a proxy by its key.`,
		Args: cobra.ExactArgs(1),
	}
	key := cmd.Flags().String("key", "", "identity/catalog.key of the proxy that wrote the backup (required)")
	name := cmd.Flags().String("name", "", "name of the proxy that will run here (default: that of the one that wrote the backup)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if s.Dir == "" || *key == "" {
			return exitcode.Misuse(errors.New("restore needs --dir NEW and --key identity/catalog.key"))
		}
		if err := emptyOrAbsent(s.Dir); err != nil {
			return err
		}
		secret, err := os.ReadFile(*key)
		if err != nil {
			return exitcode.Misuse(fmt.Errorf("read the catalog's key: %w", err))
		}
		if len(secret) != catalog.KeySize {
			return exitcode.Misuse(fmt.Errorf("--key %s has %d bytes, a catalog.key has %d: it lies in the folder identity of the proxy that wrote the backup", *key, len(secret), catalog.KeySize))
		}
		file, err := os.Open(args[0])
		if err != nil {
			return exitcode.Misuse(fmt.Errorf("open backup: %w", err))
		}
		defer file.Close()
		head, err := catalog.BackupHead(file)
		if err != nil {
			return err
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read backup: %w", err)
		}
		self := cmp.Or(*name, head.Proxy, membership.DefaultName())
		info, err := catalog.Restore(cmd.Context(), file, catalog.Options{Dir: filepath.Join(s.Dir, "catalog"), Name: self, Key: secret})
		if err != nil {
			_ = os.Remove(filepath.Join(s.Dir, "catalog")) // so that the next try finds the folder as this one did
			return err
		}
		if err := statedir.WriteKey(filepath.Join(s.Dir, "identity", "catalog.key"), secret); err != nil {
			return err
		}
		known, err := certs.RestoreIdentity(filepath.Join(s.Dir, "identity"), filepath.Dir(*key), self)
		if err != nil {
			return fmt.Errorf("restore the proxy's identity: %w", err)
		}
		if !known {
			fmt.Fprintf(cmd.ErrOrStderr(), "portico: the key of proxy %q does not lie beside --key: application servers will not know this proxy, unless another one of the cluster is there to tell them. "+
				"If its folder identity was saved, copy it to %s before the start\n", self, filepath.Join(s.Dir, "identity"))
		}
		fmt.Fprintf(cmd.OutOrStdout(), "restored cluster %s as of %s, revision %d\nnow: portico proxy --dir %s --name %s\n",
			info.Cluster, info.Created.Local().Format(time.DateTime), info.Revision, s.Dir, self)
		return nil
	}
	return cmd
}

// emptyOrAbsent reports an error unless dir can take a restored catalog.
func emptyOrAbsent(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return exitcode.Misuse(fmt.Errorf("%s is not empty: restore goes into a new folder, so that nothing can be overwritten", dir))
	}
	return nil
}
