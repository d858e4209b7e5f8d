package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"portico/balancer"
	"portico/proxy/origin"
	"portico/proxy/route"
)

// probe makes one check. It follows no redirect, reads a bounded part of the
// answer and ends with its timeout. Evidence without a code says nothing: the check
// could not be made.
func (t *Target) probe(ctx context.Context) balancer.Evidence {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, t.Check.timeout)
	defer cancel()
	e := t.ask(ctx)
	e.From = balancer.FromCheck
	e.Latency = time.Since(began)
	e.Restarts = !e.OK && t.Origin.Restarts()
	return e
}

// connectTime is how long a check may wait for its connection. Once one was late the next ones wait for less: a machine
// that is there answers in milliseconds, and a silent one should be known as such while few new visitors have tried it.
// With the default interval of two seconds that takes 7.3 at worst: 2.2 until the first check, 2 for its timeout, and twice
// half a second's pause and a second. Sessions do not hang on it.
func (t *Target) connectTime() time.Duration {
	if t.Upstream.Doubted() != 0 {
		return min(t.Check.timeout, origin.TrialConnect)
	}
	return t.Check.timeout
}

func (t *Target) ask(ctx context.Context) balancer.Evidence {
	connect, cancel := context.WithTimeout(ctx, t.connectTime())
	c, err := dial(connect, t.Origin)
	cancel()
	if errors.Is(err, errExhausted) {
		return balancer.Evidence{}
	}
	if err != nil {
		return connectEvidence(err)
	}
	if t.Check.tcp && t.Origin.TLS == nil {
		c.discard()
		return balancer.Evidence{OK: true, Code: "L4OK"}
	}
	if t.Check.tcp {
		return c.stays()
	}
	defer c.discard()
	a, err := c.get(ctx, t.Check.host, requestTarget(t.Check.path), maxHead+maxBody)
	switch {
	case err == nil:
	case ctx.Err() != nil || isTimeout(err):
		return balancer.Evidence{Code: "L7TOUT", Detail: "no answer in time"}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return balancer.Evidence{Code: "L4CON", Detail: "connection closed before an answer"}
	default:
		return balancer.Evidence{Code: "L7RSP", Detail: fmt.Sprintf("%s: %s", origin.ErrBadResponse, err)}
	}
	if !t.Check.status.Has(a.StatusCode) {
		return balancer.Evidence{Code: "L7STS", Status: a.StatusCode}
	}
	if t.Check.body == "" {
		return balancer.Evidence{OK: true, Code: "L7OK", Status: a.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(a.Body, maxBody))
	if !bytes.Contains(body, []byte(t.Check.body)) {
		detail := "the expected text is not in the answer"
		if err != nil {
			detail += ", which broke off"
		}
		return balancer.Evidence{Code: "L7RSP", Status: a.StatusCode, Detail: detail}
	}
	return balancer.Evidence{OK: true, Code: "L7OK", Status: a.StatusCode}
}

// requestTarget writes the path of a check, which may have a query, as a request
// target.
func requestTarget(path string) string {
	path, query, ok := strings.Cut(path, "?")
	if ok {
		return route.EncodePath(path) + "?" + route.EncodePath(query)
	}
	return route.EncodePath(path)
}

// connectEvidence words a failed connection as HAProxy does.
func connectEvidence(err error) balancer.Evidence {
	switch {
	case isTimeout(err):
		return balancer.Evidence{Code: "L4TOUT", Detail: "no connection in time"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return balancer.Evidence{Code: "L4CON", Detail: "connection refused"}
	}
	return balancer.Evidence{Code: "L4CON", Detail: err.Error()}
}
