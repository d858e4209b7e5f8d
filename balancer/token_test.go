package balancer_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"portico/balancer"
	"portico/conf/sites"
	"portico/internal/race"
)

// vectorKeys are fixed, so that other programs can check their reading of the
// format against the values below.
func vectorKeys() []balancer.Key {
	return []balancer.Key{
		{ID: 7, Secret: bytes.Repeat([]byte{0x11}, 32), Created: time.Unix(2000, 0)},
		{ID: 6, Secret: bytes.Repeat([]byte{0x22}, 32), Created: time.Unix(1000, 0)},
	}
}

func mustSealer(t testing.TB, site string, keys []balancer.Key) *balancer.Sealer {
	t.Helper()
	s, err := balancer.NewSealer(site, keys)
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
		got := balancer.NewToken(bytes.Repeat([]byte{key}, 32), id)
		if got.String() != want {
			t.Errorf("token of %q under %x is %s, want %s", id, key, got, want)
		}
		back, ok := balancer.ParseToken([]byte(want))
		if !ok || back != got {
			t.Errorf("ParseToken(%s) = %s, %v", want, back, ok)
		}
	}
	f(0x11, "aaaaaaaaaaaaaaaaaaaaaaaaaa", "rryopeovsj")
	f(0x22, "aaaaaaaaaaaaaaaaaaaaaaaaaa", "ixzd6kmnpi")
	f(0x11, "b", "p7tfvxtyag")

	for _, bad := range []string{"", "abc", "ABCDEFGHIJ", "abcdefghi1", "abcdefghi8", "abcdefghijk", "abcdefgh|j"} {
		if tok, ok := balancer.ParseToken([]byte(bad)); ok {
			t.Errorf("%q was taken as %s", bad, tok)
		}
	}
}

func TestCookieVector(t *testing.T) {
	s := mustSealer(t, "shop", vectorKeys())
	c := balancer.Cookie{
		Token: s.Token("aaaaaaaaaaaaaaaaaaaaaaaaaa"), Session: 0x0123456789abcdef,
		Issued: 1_700_000_900, Start: 1_700_000_000,
	}
	const want = "rryopeovsj|s44x38|BwEjRWeJq83vAGVT8QBw0bAIBkjS8azERUtGg79g"
	if got := string(s.Seal(nil, c)); got != want {
		t.Fatalf("sealed %s, want %s", got, want)
	}
	got, refused := s.Open([]byte(want))
	if refused != balancer.Honoured || got != c {
		t.Fatalf("opened %+v (%s), want %+v", got, refused, c)
	}
}

func TestCookieRefusals(t *testing.T) {
	s := mustSealer(t, "shop", vectorKeys())
	good := string(s.Seal(nil, balancer.Cookie{Token: s.Token("a"), Session: 42, Issued: 1_700_000_900, Start: 1_700_000_000}))
	f := func(name, value string, want balancer.Refusal) {
		t.Helper()
		if _, got := s.Open([]byte(value)); got != want {
			t.Errorf("%s: %q is %q, want %q", name, value, got, want)
		}
	}
	f("sealed", good, balancer.Honoured)
	f("bare, as HAProxy sets it", good[:10], balancer.Honoured)
	f("empty", "", balancer.RefusedMalformed)
	f("upper case", strings.ToUpper(good), balancer.RefusedMalformed)
	f("cut short", good[:len(good)-1], balancer.RefusedMalformed)
	f("prolonged", good+"A", balancer.RefusedMalformed)
	f("huge", strings.Repeat("a", 1<<16), balancer.RefusedMalformed)
	f("leading zero in the time", good[:11]+"0"+good[11:], balancer.RefusedMalformed)
	f("padding", good[:len(good)-1]+"=", balancer.RefusedMalformed)
	f("line break in the seal", good[:len(good)-1]+"\n", balancer.RefusedMalformed)
	f("quoted", `"`+good+`"`, balancer.RefusedMalformed)

	other := []byte(good)
	other[0] ^= 1
	if other[0] < 'a' || other[0] > 'z' {
		other[0] = 'q'
	}
	f("another token", string(other), balancer.RefusedForged)
	later := []byte(good)
	later[16] = 'z' // last digit of the time
	f("a later time", string(later), balancer.RefusedForged)

	raw, err := base64.RawURLEncoding.DecodeString(good[len(good)-40:])
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		b := bytes.Clone(raw)
		b[i] ^= 0x80
		want := balancer.RefusedForged
		if i == 0 {
			want = balancer.RefusedKey
		}
		f("a bit of the seal", good[:len(good)-40]+base64.RawURLEncoding.EncodeToString(b), want)
	}
	raw[0] = 6 // the other valid key did not seal it
	f("another key's id", good[:len(good)-40]+base64.RawURLEncoding.EncodeToString(raw), balancer.RefusedForged)

	if _, got := mustSealer(t, "shop2", vectorKeys()).Open([]byte(good)); got != balancer.RefusedForged {
		t.Errorf("another site's cookie is %q, want forged", got)
	}
}

func TestDecodeKeysRefuses(t *testing.T) {
	for _, bad := range []string{``, `{}`, `[]`, `[{"id":1,"key":"c2hvcnQ="}]`, `[{"id":300}]`} {
		if _, err := balancer.DecodeKeys([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	k := balancer.NewKey(1, time.Now())
	if _, err := balancer.New(balancer.Options{Keys: []balancer.Key{k, k}}); err == nil {
		t.Error("two keys with one id were taken")
	}
}

func TestJudge(t *testing.T) {
	const idle, life = 40 * time.Minute, 10 * time.Hour
	f := func(age, start time.Duration, want balancer.Refusal, stale bool) {
		t.Helper()
		const now = 1_700_000_000
		c := balancer.Cookie{Issued: now - int64(age/time.Second), Start: now - int64(start/time.Second)}
		if got := c.Judge(now, idle, life); got != want {
			t.Errorf("issued %s ago, begun %s ago: %q, want %q", age, start, got, want)
		}
		if got := c.Stale(now, idle); got != stale {
			t.Errorf("issued %s ago: stale is %v", age, got)
		}
	}
	f(0, 0, balancer.Honoured, false)
	f(10*time.Minute, time.Hour, balancer.Honoured, false)
	f(10*time.Minute+time.Second, time.Hour, balancer.Honoured, true)
	f(50*time.Minute, time.Hour, balancer.Honoured, true)
	f(50*time.Minute+time.Second, time.Hour, balancer.RefusedIdle, true)
	f(0, life, balancer.Honoured, false)
	f(0, life+time.Second, balancer.RefusedLife, false)
	f(-5*time.Minute, 0, balancer.Honoured, false)      // a proxy's clock that is ahead
	f(-6*time.Minute, 0, balancer.Honoured, false)      // see TestCookiesFromTheFuture
	f(time.Minute, 0, balancer.RefusedMalformed, false) // begun after its issue
}

func FuzzOpen(f *testing.F) {
	s := mustSealer(f, "shop", vectorKeys())
	good := s.Seal(nil, balancer.Cookie{Token: s.Token("a"), Session: 42, Issued: 1_700_000_900, Start: 1_700_000_000})
	f.Add(good)
	f.Add(good[:10])
	f.Add([]byte("aaaaaaaaaa|1|"))
	f.Add([]byte("aaaaaaaaaa||" + strings.Repeat("A", 40)))
	f.Add([]byte(strings.Repeat("|", 60)))
	f.Fuzz(func(t *testing.T, value []byte) {
		c, refused := s.Open(value)
		if refused != balancer.Honoured || c.Bare {
			return
		}
		if again := s.Seal(nil, c); !bytes.Equal(again, value) {
			t.Fatalf("opened %q, which is not what sealing gives: %q", value, again)
		}
	})
}

func TestAllocs(t *testing.T) {
	s := mustSealer(t, "shop", vectorKeys())
	buf := make([]byte, 0, balancer.MaxCookieLen)
	c := balancer.Cookie{Token: s.Token("a"), Session: 42, Issued: 1_700_000_900, Start: 1_700_000_000}
	check := func(name string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
	check("Seal", func() { buf = s.Seal(buf[:0], c) })
	check("Open", func() { _, _ = s.Open(buf) })
	if race.Enabled {
		return
	}
	w := newWorld(t, balancer.Config{}, "a", "b", "c")
	r := balancer.Request{Now: t0, Cookie: w.cookie(1)}
	check("Pick with a pin", func() {
		c := w.p.Pick(&r)
		w.p.Done(&c, balancer.Outcome{Now: t0, Status: 200, Total: time.Millisecond})
	})
	for _, policy := range sites.Policies() {
		w := newWorld(t, balancer.Config{Policy: policy, NotSticky: true}, "a", "b", "c")
		r := balancer.Request{Now: t0, Hash: 99}
		check("Pick by "+string(policy), func() {
			c := w.p.Pick(&r)
			w.p.Done(&c, balancer.Outcome{Now: t0, Status: 200, Total: time.Millisecond})
		})
	}
}
