package admin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"portico/internal/refusal"
	"portico/proxy/admin/api"
)

// json answers with v.
func (c *call) json(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(append(b, '\n')) // the client is gone: nobody to tell
	return nil
}

// text answers with a plain text.
func (c *call) text(status int, b []byte) error {
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b) // likewise
	return nil
}

// input decodes the body into v, strictly. An empty body leaves v as it is.
func (c *call) input(v any) error {
	if len(c.body) == 0 {
		return nil
	}
	if err := unmarshalStrict(c.body, v); err != nil {
		return refusal.BadRequest("docs/api.md shows the fields", "the body cannot be read: %v", err)
	}
	return nil
}

// flag reads a yes or no from the query; absent means no, empty means yes.
func (c *call) flag(name string) (bool, error) {
	q := c.r.URL.Query()
	if !q.Has(name) {
		return false, nil
	}
	on, err := strconv.ParseBool(cmp.Or(q.Get(name), "1"))
	if err != nil {
		return false, refusal.BadRequest("use 1 or 0", "%s=%q is not yes or no", name, api.Bounded(q.Get(name), 20))
	}
	return on, nil
}

func emptyNotNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// unmarshalStrict refuses unknown fields and anything behind the value: a
// misspelt field must not become a change that was not meant.
func unmarshalStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one JSON value")
	}
	return nil
}
