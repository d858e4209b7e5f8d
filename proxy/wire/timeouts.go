package wire

import "time"

// Timeouts of a client's connection and its exchanges. The zero value of a field means its default, a negative one means no limit.
type Timeouts struct {
	Header   time.Duration // from the first byte of a request to the end of its head, 10 s; progress does not extend it
	Idle     time.Duration // between two requests of a connection, 75 s
	Connect  time.Duration // to an upstream, with its TLS handshake, 5 s
	Body     time.Duration // without a byte of a request body while we could take one, 30 s
	Response time.Duration // from the request's last byte to the answer's head, and without a byte of the answer's body, 60 s
	Write    time.Duration // without the client taking a byte that waits for it, 30 s
	Tunnel   time.Duration // without a byte in either direction of an upgraded connection whose sides are both open, 1 h; see Rest
	Continue time.Duration // how long an origin may keep a client that expects "100 Continue" waiting, 1 s
	Linger   time.Duration // reading what a refused client still sends before the connection closes, 2 s
	Grace    time.Duration // before MinRate holds, 10 s
	MinRate  int           // bytes a second that a client must send of a body or take of an answer while it is waited for, 64
}

// WithDefaults returns t with every zero field set to its default.
func (t Timeouts) WithDefaults() Timeouts {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Header, 10 * time.Second},
		{&t.Idle, 75 * time.Second},
		{&t.Connect, 5 * time.Second},
		{&t.Body, 30 * time.Second},
		{&t.Response, time.Minute},
		{&t.Write, 30 * time.Second},
		{&t.Tunnel, time.Hour},
		{&t.Continue, time.Second},
		{&t.Linger, 2 * time.Second},
		{&t.Grace, 10 * time.Second},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if t.MinRate == 0 {
		t.MinRate = 64
	}
	return t
}

// Rest is how long nothing may move of what may otherwise be silent for a whole time, once one side has ended: what is left is a rest, as
// of a body, and who should take it may be gone without a word.
func (t *Timeouts) Rest(whole time.Duration) time.Duration {
	if t.Body > 0 && (whole <= 0 || t.Body < whole) {
		return t.Body
	}
	return whole
}
