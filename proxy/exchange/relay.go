package exchange

// Relay hands the bytes of an upgraded connection to a driver that moves them by itself from here on. It is possible when Next asks to
// read: nothing is buffered then. up and down report which directions are still open. Relayed follows.
func (x *Exchange) Relay() (up, down bool) {
	if x.up.base == 0 {
		x.up.freeIn()
	}
	x.down.freeIn()
	return !x.up.done && !x.up.eof, !x.down.done && !x.down.eof
}

// Relayed says that the driver has moved up bytes to the upstream and down bytes to the client. With done, both directions have ended
// in order and their ends were passed on; else ClientGone, Read, Timeout or Abandon says what happened.
func (x *Exchange) Relayed(up, down int64, done bool) {
	x.up.bytes += up
	x.got += up
	x.down.bytes += down
	x.rec.BytesOut += down
	if done {
		x.up.done, x.up.shut, x.down.done, x.down.shut = true, true, true, true
	}
}
