package seal

import "time"

// A cookie value is TOKEN|ISSUED|SEAL. SEAL is 30 bytes in base64url, which
// makes 40 characters without padding or spare bits: key id (1 byte), session id
// (8), start of the session in Unix seconds (5), and an AES-CMAC (16) of token
// (8 bytes, big endian), issue time (8), key id, session id, start, and two zero
// bytes. The CMAC's key is HMAC-SHA256(session key, "portico cookie 1\0" + site),
// so no site takes a cookie of another.
const (
	sealLen   = 30
	sealText  = sealLen / 3 * 4
	maxIssued = 8 // base-36 digits: enough past the year 60000
	minCookie = tokenLen + 1 + 1 + 1 + sealText
	maxCookie = tokenLen + 1 + maxIssued + 1 + sealText

	// ClockSkew is how many seconds an issue time may be ahead and still count as it is.
	ClockSkew = 300
)

// MaxCookieLen is the length of the longest sealed cookie value.
const MaxCookieLen = maxCookie

// Cookie is what a sticky cookie says.
type Cookie struct {
	Token   Token
	Session uint64 // random id of the session; 0 in a bare token
	Issued  int64  // Unix seconds
	Start   int64  // of the session, Unix seconds
	Bare    bool   // TOKEN alone, as HAProxy sets it
	OldKey  bool   // its key is valid, but older than the one that signs
	Ahead   bool   // the clock that issued it is ahead: it counts as issued now
}

// Read fills in what a cookie's value says. Nothing of it may be trusted before the caller has
// checked the seal with the proof. It refuses a value that has not the form of a cookie.
func (c *Cookie) Read(value []byte) (Proof, Refusal) {
	if len(value) == tokenLen {
		t, ok := ParseToken(value)
		if !ok {
			return Proof{}, RefusedMalformed
		}
		c.Token, c.Bare = t, true
		return Proof{}, Honoured
	}
	bar := len(value) - sealText - 1
	if len(value) < minCookie || len(value) > maxCookie || value[tokenLen] != '|' || value[bar] != '|' {
		return Proof{}, RefusedMalformed
	}
	var ok1, ok2, ok3 bool
	var proof Proof
	proof, c.Session, c.Start, ok1 = unseal((*[sealText]byte)(value[bar+1:]))
	c.Token, ok2 = ParseToken(value[:tokenLen])
	c.Issued, ok3 = parseBase36(value[tokenLen+1 : bar])
	if !ok1 || !ok2 || !ok3 {
		return Proof{}, RefusedMalformed
	}
	return proof, Honoured
}

// Grace returns for how many seconds after its issue a cookie is good.
func Grace(idle time.Duration) int64 {
	if idle < 0 {
		return 1 << 31
	}
	return int64((idle + idle/4) / time.Second)
}

// Judge reports whether a cookie's session still lives at now (Unix seconds), as far as the
// cookie tells. Where idle or life is zero, a session does not end by it.
//
// A cookie is issued anew only after a quarter of idle, so the session may have been used for
// that long after the issue. Judge decides in favour of the visitor: a session ends between
// idle and 1.25 × idle after its last use.
func (c *Cookie) Judge(now int64, idle, life time.Duration) Refusal {
	if c.Bare {
		return Honoured
	}
	if c.Start > c.Issued {
		return RefusedMalformed
	}
	if life > 0 && now-c.Start > int64(life/time.Second) {
		return RefusedLife
	}
	if idle > 0 && now-c.Issued > int64((idle+idle/4)/time.Second) {
		return RefusedIdle
	}
	return Honoured
}

// Stale reports whether the cookie should be issued anew at now (Unix seconds): a quarter
// of idle has passed since its issue, the cookie is bare, its key is older than the one
// that signs, or its issue time is ahead.
func (c *Cookie) Stale(now int64, idle time.Duration) bool {
	return c.Bare || c.OldKey || c.Ahead || idle > 0 && now-c.Issued > int64(idle/4/time.Second)
}

const base36 = "0123456789abcdefghijklmnopqrstuvwxyz"

func appendBase36(dst []byte, v int64) []byte {
	var b [13]byte
	i := len(b)
	for {
		i--
		b[i] = base36[v%36]
		if v /= 36; v == 0 {
			return append(dst, b[i:]...)
		}
	}
}

// parseBase36 reads a number. It refuses leading zeros, so that a cookie has one spelling
// only.
func parseBase36(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > maxIssued || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var v int64
	var bad uint8
	for _, c := range b {
		d := decode36[c]
		bad |= d
		v = v*36 + int64(d)
	}
	return v, bad < 64
}
