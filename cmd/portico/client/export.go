package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portico/cmd/portico/shell"
	"portico/internal/exitcode"
	"portico/internal/statedir"
	"portico/proxy/admin/api"
	"portico/proxy/admin/apiclient"
	"portico/proxy/haproxy"
)

// watchEvery is how often --watch looks for changes.
const watchEvery = 2 * time.Second

// NewExport makes the command portico export.
func NewExport(s *shell.Call) *cobra.Command {
	cmd := &cobra.Command{Use: "export", Short: "Write the cluster in another proxy's language", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(newExportHAProxy(s))
	return cmd
}

func newExportHAProxy(s *shell.Call) *cobra.Command {
	var r api.ExportRequest
	var out, as, reload string
	var watch bool
	cmd := &cobra.Command{
		Use:   "haproxy",
		Short: "Write an equivalent haproxy.cfg, which keeps the same cookies",
		Long: `Write a complete haproxy.cfg for the cluster as it is now. Without --out it is
printed. With --out DIR the folder gets haproxy.cfg, the cluster's authority and
the certificate with which HAProxy may talk to the agents: a secret, mode 0600.

The file is for the HAProxy of Debian's package: its account, its chroot, its
runtime socket. For a container, or a start by hand, leave them out with --bare.

With --watch the files follow the cluster, and the command of --reload is run
after each change, again and again until it succeeds. The certificate ends after
90 days: --watch renews it in time, each start of this command does too.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&out, "out", "", "folder to write to")
	cmd.Flags().StringVar(&r.HTTP, "http", ":80", "address for plain HTTP")
	cmd.Flags().StringVar(&r.HTTPS, "https", ":443", "address for TLS, used with --certs")
	cmd.Flags().StringVar(&r.Certs, "certs", "", "HAProxy's folder of certificates; without it there is no TLS frontend")
	cmd.Flags().StringVar(&r.Stats, "stats", "", `address of HAProxy's own page (default 127.0.0.1:8404, "off": none)`)
	cmd.Flags().BoolVar(&r.Bare, "bare", false, "without account, chroot and runtime socket: for an HAProxy that Debian's unit does not start")
	cmd.Flags().StringVar(&as, "as", "haproxy", "member name of this HAProxy; portico revoke takes its access away")
	cmd.Flags().BoolVar(&watch, "watch", false, "go on, and write whenever something changes")
	cmd.Flags().StringVar(&reload, "reload", "", "shell command to run after each change, with --watch")
	cmd.RunE = withClient(s, func(cmd *cobra.Command, c *apiclient.Client, _ []string) error {
		if out == "" {
			if watch {
				return exitcode.Misuse(errors.New("--watch needs --out"))
			}
			e, err := c.ExportHAProxy(cmd.Context(), r)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), e.Files[haproxy.ConfigFile])
			return err
		}
		dir, err := filepath.Abs(out)
		if err != nil {
			return fmt.Errorf("find %s: %w", out, err)
		}
		r.Dir = dir
		x, err := newExporter(cmd, c, r, as)
		if err != nil {
			return err
		}
		if !watch {
			_, err := x.write()
			return err
		}
		return x.watch(reload)
	})
	return cmd
}

// exporter keeps a folder with an exported configuration current.
type exporter struct {
	cmd    *cobra.Command
	client *apiclient.Client
	r      api.ExportRequest
	member string
	key    *ecdsa.PrivateKey // of the HAProxy; made here, never sent
	files  map[string]string // as written last
}

func newExporter(cmd *cobra.Command, c *apiclient.Client, r api.ExportRequest, member string) (*exporter, error) {
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("write export: %w", err)
	}
	key, err := loadOrMakeKey(filepath.Join(r.Dir, "client.key"))
	if err != nil {
		return nil, fmt.Errorf("write export: %w", err)
	}
	return &exporter{cmd: cmd, client: c, r: r, member: member, key: key}, nil
}

// loadOrMakeKey reads the private key at path, or makes one there.
func loadOrMakeKey(path string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		text, err := keyPEM(key)
		if err != nil {
			return nil, err
		}
		return key, statedir.WriteSecret(path, text)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s is no PEM file: remove it, and the export makes another", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: remove it, and the export makes another", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a %T: remove it, and the export makes another", path, parsed)
	}
	return key, nil
}

func keyPEM(key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// fetch asks for the files. A certificate is asked for at first and when the one there is a third
// of its life from its end; other looks ask for the configuration alone.
func (x *exporter) fetch() (api.Export, error) {
	if x.files != nil && !endsSoon(x.files[haproxy.ClientFile], time.Now()) {
		e, err := x.client.ExportHAProxy(x.cmd.Context(), x.r)
		if err != nil {
			return e, err
		}
		files := maps.Clone(x.files)
		maps.Copy(files, e.Files)
		e.Files = files
		return e, nil
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: x.member}}, x.key)
	if err != nil {
		return api.Export{}, fmt.Errorf("request a certificate: %w", err)
	}
	e, err := x.client.ExportHAProxyBundle(x.cmd.Context(), x.r, api.ExportBundleRequest{Name: x.member, CSR: csr})
	if err != nil {
		return e, err
	}
	secret, err := keyPEM(x.key)
	if err != nil {
		return e, err
	}
	e.Files[haproxy.ClientFile] += secret
	return e, nil
}

// endsSoon reports whether less than a third of a certificate's life is left. The text may hold its key, too.
func endsSoon(text string, now time.Time) bool {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		return err != nil || leaf.NotAfter.Sub(now) < leaf.NotAfter.Sub(leaf.NotBefore)/3
	}
	return true
}

// write brings the folder up to date and reports whether anything changed.
func (x *exporter) write() (changed bool, err error) {
	e, err := x.fetch()
	if err != nil || maps.EqualFunc(e.Files, x.files, sameButComments) {
		return false, err
	}
	// The configuration comes last: it names the others.
	for _, name := range slices.SortedFunc(maps.Keys(e.Files), func(a, b string) int { return rank(a) - rank(b) }) {
		if err := statedir.WriteSecret(filepath.Join(x.r.Dir, filepath.Base(name)), e.Files[name]); err != nil {
			return false, fmt.Errorf("write export: %w", err)
		}
	}
	x.files = e.Files
	fmt.Fprintf(x.cmd.OutOrStdout(), "wrote %s (revision %d), with %s, %s and the secret client.key beside it\n",
		filepath.Join(x.r.Dir, haproxy.ConfigFile), e.Revision, haproxy.CAFile, haproxy.ClientFile)
	return true, nil
}

// sameButComments reports whether two files say the same. Their first lines tell
// the catalog's revision, which grows with each entry of the audit log, and is no
// reason to reload anything.
func sameButComments(a, b string) bool {
	return withoutComments(a) == withoutComments(b)
}

func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func rank(name string) int {
	if name == haproxy.ConfigFile {
		return 1
	}
	return 0
}

// watch writes whenever something changes, until the command is ended. A reload that failed is tried again.
func (x *exporter) watch(reload string) error {
	for due := false; ; {
		changed, err := x.write()
		due = due || changed
		if err == nil && due {
			if err = runReload(x.cmd.Context(), x.cmd, reload); err == nil {
				due = false
			}
		}
		if err != nil && x.cmd.Context().Err() == nil {
			fmt.Fprintln(x.cmd.ErrOrStderr(), "portico:", err) // the files stay as they were
		}
		select {
		case <-time.After(watchEvery):
		case <-x.cmd.Context().Done():
			return nil
		}
	}
}

func runReload(ctx context.Context, cmd *cobra.Command, command string) error {
	if command == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	c.Stdout, c.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := c.Run(); err != nil {
		return fmt.Errorf("reload command %q: %w", command, err)
	}
	return nil
}
