package deployhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"portico/membership/catalog"
)

const (
	// askTime bounds one question to another proxy.
	askTime = 1500 * time.Millisecond
	// maxAnswer bounds the answer of another proxy.
	maxAnswer = 64 << 20
)

// errGone reports a proxy that is not asked, because it did not answer before and gossip has
// it for gone.
var errGone = errors.New("no answer, and gossip does not know it")

// gone reports whether a proxy did not answer the last regular question. That one is
// always asked: it is how anybody learns that the proxy is back.
func (o *others) gone(proxy, path string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.known[proxy]
	return path != "/v1/peer/held" && p != nil && p.err != nil
}

// askPeer puts a question to another proxy, as JSON by mutual TLS.
func (d *Deployer) askPeer(ctx context.Context, m catalog.Member, path string, in, out any) error {
	if d.others.gone(m.Name, path) && d.o.Alive != nil && !d.o.Alive(m.Name) {
		return fmt.Errorf("ask proxy %s: it has gone: %w", m.Name, errGone)
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	err := d.post(ctx, m, path, in, out)
	if err != nil {
		return fmt.Errorf("ask proxy %s: %w", m.Name, err)
	}
	return nil
}

func (d *Deployer) post(ctx context.Context, m catalog.Member, path string, in, out any) error {
	client, base, err := d.o.Peer(m)
	if err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 512))
		return fmt.Errorf("it answers %s: %s", res.Status, bytes.TrimSpace(text))
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return errors.Join(errors.New("read its answer"), err)
	}
	return nil
}
