package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"

	"portico/conf/sites"
	"portico/internal/zapslog"
	"portico/membership/catalog/store/etcdlog"
)

// Outside names an etcd that somebody else runs, to be used in place of the
// embedded one. All proxies of a cluster name the same one, with the same prefix
// and the same key for the secrets.
type Outside struct {
	Endpoints []string // URLs with https; any of its members will do
	CA        string   // PEM file with the roots of its certificates; empty: the system's
	Cert, Key string   // PEM files of the certificate shown to it; both or neither; read again when they change
	Prefix    string   // of every key, such as "portico/"; what lies beside it is not touched
}

// What an outside store is set to, and why.
const (
	outsideDial  = 5 * time.Second  // to reach one endpoint
	outsideAlive = 10 * time.Second // silence after which a connection is tried, and again that long until it counts as dead
)

// connect connects to an outside etcd. It does not wait for it: the first read finds out.
func (s *Store) connect() error {
	o := s.o
	config, err := o.Outside.TLS()
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: o.Outside.Endpoints, TLS: config,
		DialTimeout: outsideDial, DialKeepAliveTime: outsideAlive, DialKeepAliveTimeout: outsideAlive,
		PermitWithoutStream: true, MaxCallSendMsgSize: 2 * maxRequest,
		Logger: zapslog.New(slog.New(etcdlog.New(o.Logger.Handler()))),
	})
	if err != nil {
		return fmt.Errorf("connect to the catalog's etcd: %w", err)
	}
	client.KV = namespace.NewKV(client.KV, o.Outside.Prefix)
	client.Watcher = namespace.NewWatcher(client.Watcher, o.Outside.Prefix)
	client.Lease = namespace.NewLease(client.Lease, o.Outside.Prefix)
	s.run.Store(&running{client: client})
	return nil
}

// Check reports what is wrong with the files, as far as can be told without the etcd.
func (o *Outside) Check() error {
	_, err := o.TLS()
	return err
}

// TLS returns the client's side. The certificate is read at each handshake, so
// that one that was renewed is used without a restart.
func (o *Outside) TLS() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("read catalog.ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: catalog.ca: there is no certificate in %s", sites.ErrInvalid, o.CA)
		}
	}
	if o.Cert == "" {
		return config, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("read catalog.cert and catalog.key: %w", err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return config, nil
}

// CheckLimits warns of an outside etcd that will not take large changes: its own default of 128 comparisons or
// writes in a transaction is less than some changes need.
func (s *Store) CheckLimits(ctx context.Context) {
	many := make([]Cmp, MaxOps)
	for i := range many {
		many[i] = clientv3.Compare(clientv3.Version("any"), ">", -1)
	}
	_, _, err := s.Transact(ctx, many, nil)
	if errors.Is(err, rpctypes.ErrTooManyOps) {
		s.logger.Warn("the catalog's etcd refuses large changes: start it with --max-txn-ops 16384 and --max-request-bytes 4194304, or clusters of more than a few dozen instances cannot be changed as a whole")
	}
}

// explainOutside adds to an error of an outside etcd what helps.
func (s *Store) explainOutside(err error) error {
	switch {
	case !s.outside:
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: start the catalog's etcd with --max-txn-ops %d", err, MaxOps)
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("%w: start the catalog's etcd with --max-request-bytes %d", err, maxRequest)
	}
	return err
}
