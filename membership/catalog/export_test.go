package catalog

import "context"

// Lock takes the cluster-wide lock that the certificates' storage and a proxy's admission take.
func (c *Catalog) Lock(ctx context.Context, name string) (unlock func(), err error) {
	return c.store.Load().Lock(ctx, name)
}
