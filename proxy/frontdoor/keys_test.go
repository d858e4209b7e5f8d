package frontdoor

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"portico/balancer/seal"
	"portico/membership/catalog/command"
)

// TestSessionKeysMeanTheSame holds that the data path reads all that the catalog says of a
// session key.
func TestSessionKeysMeanTheSame(t *testing.T) {
	at := time.Unix(1_800_000_000, 0).UTC()
	want := command.SessionKey{ID: 7, Key: bytes.Repeat([]byte{1}, 32), Created: at, From: at.Add(time.Minute), Until: at.Add(time.Hour)}
	data, err := json.Marshal([]command.SessionKey{want})
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal.DecodeKeys(data)
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if k := got[0]; k.ID != want.ID || !bytes.Equal(k.Secret, want.Key) || !k.Created.Equal(want.Created) || !k.From.Equal(want.From) || !k.Until.Equal(want.Until) {
		t.Errorf("read %+v, want %+v", k, want)
	}
}
