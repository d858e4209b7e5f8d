package membership

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"portico/internal/pause"
	"portico/membership/catalog"
)

// RefusedPause is between two knocks of a machine that an operator refused: long
// enough to cost nobody anything, short enough for who has just changed her mind.
const RefusedPause = 10 * time.Second

// JoinOptions say who wants in, and where.
type JoinOptions struct {
	Identity Identity
	Servers  []string // admin addresses (host:port) of proxies, tried in turn

	// Pinned is the client side towards a cluster known by its fingerprint
	// only, see certs.PinnedClientTLS. Nil: the machine must be accepted
	// already.
	Pinned *tls.Config

	// Member is the client side of mutual TLS with the identity's certificate,
	// see Identity.ClientConfig of package certs.
	Member *tls.Config

	Hello Hello  // ID is the identity's
	Code  string // of an invite; empty: an operator decides

	// Patience is the time until the next knock after an operator refused or
	// revoked this machine: she may change her mind. Zero: Join returns the
	// *Refusal instead.
	Patience time.Duration

	// Progress is called when there is something new to say. Nil: silence.
	Progress func(Progress)

	Logger *slog.Logger // nil: nothing is logged
}

// Progress is how far a machine is with joining.
type Progress struct {
	State  ProgressState
	Server string // the proxy that was asked

	// Fingerprint is that of this machine's key, for an operator to compare
	// with what the proxy shows.
	Fingerprint string
	Err         error // with Unreachable, Offline and TurnedAway
}

// ProgressState is a step of joining.
type ProgressState string

// The steps of joining.
const (
	Knocking    ProgressState = "knocking"
	Unreachable ProgressState = "unreachable" // no proxy answers; it goes on trying
	Waiting     ProgressState = "pending"     // somebody has to accept this machine
	TurnedAway  ProgressState = "refused"     // by an operator; it asks again now and then, see JoinOptions.Patience
	Welcome     ProgressState = "accepted"
	Offline     ProgressState = "offline" // accepted before; no proxy answers, which is no hindrance
)

// Join makes this machine a member: it knocks until somebody decides, stores
// what acceptance brings in the identity, and fetches the gossip keys. It
// returns a *Refusal when the machine is turned away for good (see Patience), and ctx's error
// when that ends first. A machine that was accepted before is a member at once,
// even when no proxy can be reached; the Acceptance is empty then.
func Join(ctx context.Context, o JoinOptions) (Acceptance, error) {
	j := &joiner{o: o, log: o.Logger}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	j.o.Hello.ID = o.Identity.ID()
	if len(o.Servers) == 0 {
		return Acceptance{}, errors.New("join cluster: no proxy is named: set agent.join to the admin address of one, such as proxy.example.com:7443")
	}
	defer j.close()
	a, err := j.run(ctx)
	if err != nil {
		return Acceptance{}, fmt.Errorf("join cluster: %w", err)
	}
	return a, nil
}

type joiner struct {
	o    JoinOptions
	log  *slog.Logger
	last Progress

	pinned, member *http.Client
}

func (j *joiner) close() {
	for _, c := range []*http.Client{j.pinned, j.member} {
		if c != nil {
			c.CloseIdleConnections()
		}
	}
}

func (j *joiner) tell(state ProgressState, server string, err error) {
	p := Progress{State: state, Server: server, Fingerprint: j.o.Identity.Fingerprint(), Err: err}
	same := p.State == j.last.State && p.Server == j.last.Server && fmt.Sprint(p.Err) == fmt.Sprint(j.last.Err)
	if same || j.o.Progress == nil {
		return
	}
	j.last = p
	j.o.Progress(p)
}

func (j *joiner) run(ctx context.Context) (Acceptance, error) {
	j.member = memberClient(j.o.Member)
	if !j.o.Identity.NotAfter().IsZero() {
		a, again, err := j.back(ctx)
		if !again {
			return a, err
		}
	}
	if j.o.Pinned == nil {
		return Acceptance{}, errors.New("the cluster's fingerprint is missing: set agent.fingerprint to what the proxy prints at its start")
	}
	j.pinned = memberClient(j.o.Pinned)
	a, err := j.knockUntilDecided(ctx)
	if err != nil {
		return Acceptance{}, err
	}
	return a, j.fetchKeys(ctx)
}

// back is the way of a machine that was accepted before. It asks to knock again
// when its certificate is worth nothing any more.
func (j *joiner) back(ctx context.Context) (a Acceptance, again bool, err error) {
	now := time.Now()
	if !now.Before(j.o.Identity.NotAfter()) {
		j.log.Info("certificate has ended, knocking again", "ended", j.o.Identity.NotAfter())
		return Acceptance{}, true, nil
	}
	keys, err := j.o.Identity.GossipKeys()
	if err != nil {
		return Acceptance{}, false, err
	}
	var last error
	for _, server := range j.o.Servers {
		callCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
		a, err := renewAt(callCtx, j.member, server, j.o.Identity, j.o.Hello, now)
		cancel()
		if err == nil {
			j.tell(Welcome, server, nil)
			return a, false, j.fetchKeys(ctx)
		}
		last = err
		var refusal *Refusal
		if errors.As(err, &refusal) && refusal.Code == CodeNotMember || rejected(err) {
			return Acceptance{}, j.o.Pinned != nil, err
		}
	}
	if ctx.Err() != nil {
		return Acceptance{}, false, ctx.Err()
	}
	if len(keys) == 0 {
		return Acceptance{}, false, j.fetchKeys(ctx)
	}
	j.tell(Offline, j.o.Servers[0], last)
	return Acceptance{}, false, nil
}

// rejected reports whether the other side did not like our certificate: what
// package tls makes of an alert that it receives.
func rejected(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error"
}

// fetchKeys gets the gossip keys, as patiently as everything else here.
func (j *joiner) fetchKeys(ctx context.Context) error {
	for n := 0; ; n++ {
		server := j.o.Servers[n%len(j.o.Servers)]
		callCtx, cancel := context.WithTimeout(ctx, 15*time.Second)
		keys, err := keysAt(callCtx, j.member, server, "", 0)
		cancel()
		if err == nil {
			return j.o.Identity.SetGossipKeys(keys.Keys)
		}
		var refusal *Refusal
		if errors.As(err, &refusal) && refusal.Final() {
			return err
		}
		j.tell(Unreachable, server, err)
		if err := rest(ctx, backoff(n)); err != nil {
			return err
		}
	}
}

// knockUntilDecided asks the proxies in turn. A pending answer keeps it at the
// proxy that gave it.
func (j *joiner) knockUntilDecided(ctx context.Context) (Acceptance, error) {
	csr, err := j.o.Identity.CSR(j.o.Hello.Name)
	if err != nil {
		return Acceptance{}, err
	}
	k := Knock{Hello: j.o.Hello, CSR: csr, Code: j.o.Code, Wait: int(maxHold / time.Second)}
	at, failures := 0, 0
	for {
		server := j.o.Servers[at%len(j.o.Servers)]
		if j.last.State == "" {
			j.tell(Knocking, server, nil)
			k.Wait = 0 // the first answer tells people that they have to act
		}
		answer, err := j.knockAt(ctx, server, k)
		k.Wait = int(maxHold / time.Second)
		var refusal *Refusal
		switch {
		case ctx.Err() != nil:
			return Acceptance{}, ctx.Err()
		case j.o.Patience > 0 && errors.As(err, &refusal) && refusal.byOperator():
			j.tell(TurnedAway, server, err)
			if err := rest(ctx, j.o.Patience); err != nil {
				return Acceptance{}, err
			}
		case errors.As(err, &refusal) && refusal.Final():
			return Acceptance{}, err
		case err != nil:
			at, failures = at+1, failures+1
			j.tell(Unreachable, server, err)
			wait := backoff(failures / len(j.o.Servers))
			if refusal != nil && refusal.retry > 0 {
				wait = refusal.retry
			}
			if err := rest(ctx, wait); err != nil {
				return Acceptance{}, err
			}
		case answer.State == catalog.Accepted && answer.Acceptance != nil:
			if err := j.o.Identity.SetCertificate(answer.Certificate, answer.CA); err != nil {
				return Acceptance{}, err
			}
			j.tell(Welcome, server, nil)
			return *answer.Acceptance, nil
		default:
			failures = 0
			j.tell(Waiting, server, nil)
			// The answer was held back already, so hardly any pause is due; a
			// proxy that does not hold them says how long.
			if err := rest(ctx, pendingPause(answer)); err != nil {
				return Acceptance{}, err
			}
		}
	}
}

// pendingPause is the time until the next knock after a pending answer.
func pendingPause(a KnockAnswer) time.Duration {
	return time.Duration(min(max(a.RetryAfter, 1), 30)) * 250 * time.Millisecond
}

func (j *joiner) knockAt(ctx context.Context, server string, k Knock) (KnockAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, maxHold+15*time.Second)
	defer cancel()
	var answer KnockAnswer
	err := call(ctx, j.pinned, http.MethodPost, server, PathKnock, k, &answer)
	return answer, err
}

// backoff grows from half a second to a quarter of a minute.
func backoff(n int) time.Duration {
	return min(500*time.Millisecond<<min(n, 10), 15*time.Second)
}

// rest waits for about d, or until ctx ends. The jitter keeps a hall of
// machines that lost power together from asking in step.
func rest(ctx context.Context, d time.Duration) error {
	_ = pause.For(ctx, d*3/4+rand.N(d/2+1))
	return ctx.Err()
}

// memberClient returns a client for the calls between members: no proxy of the
// environment, no redirects, limits on what it reads.
func memberClient(config *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:        config,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			IdleConnTimeout:        30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

const maxAnswer = 256 << 10

// call sends in as JSON and reads the answer into out. An error that the
// server words itself is a *Refusal.
func call(ctx context.Context, c *http.Client, method, server, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+server+path, body)
	if err != nil {
		return fmt.Errorf("ask %s: %w", server, err)
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.Do(r)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // the address is said below, once
		}
		return fmt.Errorf("ask %s: %w", server, err)
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask %s: %w", server, err)
	}
	if answer.StatusCode >= 300 {
		return failure(server, answer, data)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("ask %s: read answer: %w", server, err)
	}
	return nil
}

// failure makes an error of an answer that is none of the good ones.
func failure(server string, answer *http.Response, data []byte) error {
	var in struct {
		Error *Refusal `json:"error"`
	}
	if json.Unmarshal(data, &in) != nil || in.Error == nil || in.Error.Message == "" {
		return fmt.Errorf("ask %s: it answers %s: is this the admin address of a portico proxy?", server, answer.Status)
	}
	in.Error.Status = answer.StatusCode
	in.Error.Message, in.Error.Hint = clean(in.Error.Message), clean(in.Error.Hint)
	if s, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && s > 0 {
		in.Error.retry = time.Duration(min(s, 60)) * time.Second
	}
	return in.Error
}

// renewAt tells a proxy the news about this machine, and asks for a new
// certificate when the present one has less than a third of its life left.
func renewAt(ctx context.Context, c *http.Client, server string, id Identity, h Hello, now time.Time) (Acceptance, error) {
	h.ID = id.ID()
	in := Renewal{Hello: h}
	if id.NeedsRenewal(now) {
		csr, err := id.CSR(h.Name)
		if err != nil {
			return Acceptance{}, err
		}
		in.CSR = csr
	}
	var a Acceptance
	if err := call(ctx, c, http.MethodPost, server, PathRenew, in, &a); err != nil {
		return Acceptance{}, err
	}
	if len(in.CSR) > 0 {
		if err := id.SetCertificate(a.Certificate, a.CA); err != nil {
			return Acceptance{}, err
		}
	}
	return a, nil
}

func keysAt(ctx context.Context, c *http.Client, server, have string, wait time.Duration) (Keys, error) {
	q := url.Values{}
	if have != "" {
		q.Set("have", have)
		q.Set("wait", strconv.Itoa(int(wait/time.Second)))
	}
	var k Keys
	if err := call(ctx, c, http.MethodGet, server, PathKeys+"?"+q.Encode(), nil, &k); err != nil {
		return Keys{}, err
	}
	if err := checkKeys(k.Keys); err != nil {
		return Keys{}, fmt.Errorf("ask %s: %w", server, err)
	}
	return k, nil
}
