// Package upload takes what somebody uploads as far as it goes without a deploy: the request, the body on disk, the archive whole and
// its files as objects, and the settings of the release that would come of it. Nothing of it can be seen before the parent commits it.
package upload

import (
	"cmp"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/conf/sites"
	"portico/internal/refusal"
)

const (
	// maxWait bounds wait=true and wait=DURATION.
	maxWait = 30 * time.Minute
	// maxName is the longest name of an archive that is kept whole.
	maxName = 200
)

// Request is what the caller asks for beside the body.
type Request struct {
	Site   string
	By     string
	Name   string // of the archive, for people
	Hosts  []string
	Path   string
	Kind   sites.Kind
	DryRun bool
	NoPin  bool // sessions of the release before do not stay
	Wait   time.Duration
}

// Parse checks everything but the body of a request that was authenticated for an account, by; "" refuses it.
func Parse(r *http.Request, by string) (*Request, error) {
	q := &Request{Site: r.PathValue("site"), By: by}
	if q.By == "" {
		return nil, refusal.New(http.StatusUnauthorized, "unauthorized", "", "an upload needs an account")
	}
	if err := sites.ValidName("site", q.Site); err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refusal.New(http.StatusBadRequest, "invalid", "", "the query cannot be read: %v", err)
	}
	for key, list := range values {
		if err := q.set(key, list); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func (q *Request) set(key string, values []string) error {
	value := values[len(values)-1]
	switch key {
	case "host":
		for _, v := range values {
			for host := range strings.SplitSeq(v, ",") {
				if host = strings.ToLower(strings.TrimSpace(host)); host != "" && !slices.Contains(q.Hosts, host) {
					q.Hosts = append(q.Hosts, host)
				}
			}
		}
	case "path":
		q.Path = value
	case "kind":
		q.Kind = sites.Kind(value)
	case "name":
		q.Name = path.Base(strings.ReplaceAll(strings.ToValidUTF8(value, ""), `\`, "/"))
		if len(q.Name) > maxName {
			q.Name = strings.ToValidUTF8(q.Name[:maxName], "") + "…"
		}
	case "dry_run", "dry-run":
		on, err := strconv.ParseBool(cmp.Or(value, "1"))
		if err != nil {
			return refusal.New(http.StatusBadRequest, "invalid", "", "%s=%q is not yes or no", key, value)
		}
		q.DryRun = on
	case "no_pin":
		on, err := strconv.ParseBool(cmp.Or(value, "1"))
		if err != nil {
			return refusal.New(http.StatusBadRequest, "invalid", "", "%s=%q is not yes or no", key, value)
		}
		q.NoPin = on
	case "wait":
		return q.setWait(value)
	default:
		return refusal.New(http.StatusBadRequest, "invalid", "", "the query has %q; known are host, path, kind, name, wait, no_pin and dry_run", key)
	}
	return nil
}

func (q *Request) setWait(value string) error {
	if on, err := strconv.ParseBool(cmp.Or(value, "1")); err == nil {
		if on {
			q.Wait = maxWait
		}
		return nil
	}
	wait, err := time.ParseDuration(value)
	if err != nil || wait < 0 {
		return refusal.New(http.StatusBadRequest, "invalid", "", "wait=%q is not a duration such as 60s", value)
	}
	q.Wait = min(wait, maxWait)
	return nil
}
