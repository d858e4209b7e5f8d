package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

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
