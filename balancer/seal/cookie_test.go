package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"portico/balancer/seal"
	"portico/tests/support/seals"
)

const t0 = 1_700_000_000_000 // Unix milliseconds

// vectorKeys are fixed, so that other programs can check their reading of the
// format against the values below.
func vectorKeys() []seal.Key {
	return []seal.Key{
		{ID: 7, Secret: bytes.Repeat([]byte{0x11}, 32), Created: time.Unix(2000, 0)},
		{ID: 6, Secret: bytes.Repeat([]byte{0x22}, 32), Created: time.Unix(1000, 0)},
	}
}

func mustSealer(t testing.TB, site string, keys []seal.Key) *seal.Sealer {
	t.Helper()
	s, err := seal.NewSealer(site, keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokenVectors(t *testing.T) {
	// HMAC-SHA256(key, id), first 50 bits, RFC 4648 base32 in lower case, as
	// printf %s ID | openssl dgst -sha256 -mac HMAC -macopt hexkey:… shows.
	f := func(key byte, id, want string) {
		t.Helper()
		got := seal.NewToken(bytes.Repeat([]byte{key}, 32), id)
		if got.String() != want {
			t.Errorf("token of %q under %x is %s, want %s", id, key, got, want)
		}
		back, ok := seal.ParseToken([]byte(want))
		if !ok || back != got {
			t.Errorf("ParseToken(%s) = %s, %v", want, back, ok)
		}
	}
	f(0x11, "aaaaaaaaaaaaaaaaaaaaaaaaaa", "rryopeovsj")
	f(0x22, "aaaaaaaaaaaaaaaaaaaaaaaaaa", "ixzd6kmnpi")
	f(0x11, "b", "p7tfvxtyag")

	for _, bad := range []string{"", "abc", "ABCDEFGHIJ", "abcdefghi1", "abcdefghi8", "abcdefghijk", "abcdefgh|j"} {
		if tok, ok := seal.ParseToken([]byte(bad)); ok {
			t.Errorf("%q was taken as %s", bad, tok)
		}
	}
}

func TestCookieVector(t *testing.T) {
	s := mustSealer(t, "shop", vectorKeys())
	c := seal.Cookie{
		Token: s.Token("aaaaaaaaaaaaaaaaaaaaaaaaaa"), Session: 0x0123456789abcdef,
		Issued: 1_700_000_900, Start: 1_700_000_000,
	}
	const want = "rryopeovsj|s44x38|BwEjRWeJq83vAGVT8QBw0bAIBkjS8azERUtGg79g"
	if got := string(s.Seal(nil, c)); got != want {
		t.Fatalf("sealed %s, want %s", got, want)
	}
	got, refused := seals.Open(s, []byte(want))
	if refused != seal.Honoured || got != c {
		t.Fatalf("opened %+v (%s), want %+v", got, refused, c)
	}
}

func TestCookieRefusals(t *testing.T) {
	s := mustSealer(t, "shop", vectorKeys())
	good := string(s.Seal(nil, seal.Cookie{Token: s.Token("a"), Session: 42, Issued: 1_700_000_900, Start: 1_700_000_000}))
	f := func(name, value string, want seal.Refusal) {
		t.Helper()
		if _, got := seals.Open(s, []byte(value)); got != want {
			t.Errorf("%s: %q is %q, want %q", name, value, got, want)
		}
	}
	f("sealed", good, seal.Honoured)
	f("bare, as HAProxy sets it", good[:10], seal.Honoured)
	f("empty", "", seal.RefusedMalformed)
	f("upper case", strings.ToUpper(good), seal.RefusedMalformed)
	f("cut short", good[:len(good)-1], seal.RefusedMalformed)
	f("prolonged", good+"A", seal.RefusedMalformed)
	f("huge", strings.Repeat("a", 1<<16), seal.RefusedMalformed)
	f("leading zero in the time", good[:11]+"0"+good[11:], seal.RefusedMalformed)
	f("padding", good[:len(good)-1]+"=", seal.RefusedMalformed)
	f("line break in the seal", good[:len(good)-1]+"\n", seal.RefusedMalformed)
	f("quoted", `"`+good+`"`, seal.RefusedMalformed)

	other := []byte(good)
	other[0] ^= 1
	if other[0] < 'a' || other[0] > 'z' {
		other[0] = 'q'
	}
	f("another token", string(other), seal.RefusedForged)
	later := []byte(good)
	later[16] = 'z' // last digit of the time
	f("a later time", string(later), seal.RefusedForged)

	raw, err := base64.RawURLEncoding.DecodeString(good[len(good)-40:])
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		b := bytes.Clone(raw)
		b[i] ^= 0x80
		want := seal.RefusedForged
		if i == 0 {
			want = seal.RefusedKey
		}
		f("a bit of the seal", good[:len(good)-40]+base64.RawURLEncoding.EncodeToString(b), want)
	}
	raw[0] = 6 // the other valid key did not seal it
	f("another key's id", good[:len(good)-40]+base64.RawURLEncoding.EncodeToString(raw), seal.RefusedForged)

	if _, got := seals.Open(mustSealer(t, "shop2", vectorKeys()), []byte(good)); got != seal.RefusedForged {
		t.Errorf("another site's cookie is %q, want forged", got)
	}
}

func TestDecodeKeysRefuses(t *testing.T) {
	for _, bad := range []string{``, `{}`, `[]`, `[{"id":1,"key":"c2hvcnQ="}]`, `[{"id":300}]`} {
		if _, err := seal.DecodeKeys([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	k := seals.NewKey(1, time.Now())
	if _, err := seal.NewSealer("shop", []seal.Key{k, k}); err == nil {
		t.Error("two keys with one id were taken")
	}
}

func TestJudge(t *testing.T) {
	const idle, life = 40 * time.Minute, 10 * time.Hour
	f := func(age, start time.Duration, want seal.Refusal, stale bool) {
		t.Helper()
		const now = 1_700_000_000
		c := seal.Cookie{Issued: now - int64(age/time.Second), Start: now - int64(start/time.Second)}
		if got := c.Judge(now, idle, life); got != want {
			t.Errorf("issued %s ago, begun %s ago: %q, want %q", age, start, got, want)
		}
		if got := c.Stale(now, idle); got != stale {
			t.Errorf("issued %s ago: stale is %v", age, got)
		}
	}
	f(0, 0, seal.Honoured, false)
	f(10*time.Minute, time.Hour, seal.Honoured, false)
	f(10*time.Minute+time.Second, time.Hour, seal.Honoured, true)
	f(50*time.Minute, time.Hour, seal.Honoured, true)
	f(50*time.Minute+time.Second, time.Hour, seal.RefusedIdle, true)
	f(0, life, seal.Honoured, false)
	f(0, life+time.Second, seal.RefusedLife, false)
	f(-5*time.Minute, 0, seal.Honoured, false)      // a proxy's clock that is ahead
	f(-6*time.Minute, 0, seal.Honoured, false)      // see TestCookiesFromTheFuture
	f(time.Minute, 0, seal.RefusedMalformed, false) // begun after its issue
}

func FuzzOpen(f *testing.F) {
	s := mustSealer(f, "shop", vectorKeys())
	good := s.Seal(nil, seal.Cookie{Token: s.Token("a"), Session: 42, Issued: 1_700_000_900, Start: 1_700_000_000})
	f.Add(good)
	f.Add(good[:10])
	f.Add([]byte("aaaaaaaaaa|1|"))
	f.Add([]byte("aaaaaaaaaa||" + strings.Repeat("A", 40)))
	f.Add([]byte(strings.Repeat("|", 60)))
	f.Fuzz(func(t *testing.T, value []byte) {
		c, refused := seals.Open(s, value)
		if refused != seal.Honoured || c.Bare {
			return
		}
		if again := s.Seal(nil, c); !bytes.Equal(again, value) {
			t.Fatalf("opened %q, which is not what sealing gives: %q", value, again)
		}
	})
}

func TestAllocs(t *testing.T) {
	s := mustSealer(t, "shop", vectorKeys())
	buf := make([]byte, 0, seal.MaxCookieLen)
	c := seal.Cookie{Token: s.Token("a"), Session: 42, Issued: 1_700_000_900, Start: 1_700_000_000}
	check := func(name string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	check("Seal", func() { buf = s.Seal(buf[:0], c) })
	check("Open", func() { _, _ = seals.Open(s, buf) })
}

func TestKeysInJSON(t *testing.T) {
	from := time.Unix(t0/1000, 0)
	keys := []seal.Key{seals.NewKey(2, from), seals.NewKey(1, from)}
	keys[0].From, keys[1].Until = from.Add(time.Minute), from.Add(time.Hour)
	data, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	back, err := seal.DecodeKeys(data)
	if err != nil || len(back) != 2 || !back[0].From.Equal(keys[0].From) || !back[1].Until.Equal(keys[1].Until) || !back[1].From.IsZero() {
		t.Errorf("%+v %v", back, err)
	}
}
