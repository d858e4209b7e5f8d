// Package isolation holds the proof that nobody gets bytes that are not theirs.
//
// A [World] is origins that behave well or badly, and clients that do the same.
// Whatever they do is drawn from a seed: the protocol of each side, framing and
// size of every body, and at which byte somebody closes, resets, half-closes or
// falls silent. Every byte that goes over a wire belongs to one message and says
// so itself: wherever it arrives, it is compared with what its owner would have
// sent to that place. Bytes of another message, an answer that looks whole and is
// not, a request at an origin that it was not meant for, and anything that waits
// for ever are faults.
//
// One world serves many seeds at a time, behind one proxy: what the proxy keeps for
// the next client is really used by the next client.
//
// PORTICO_ISOLATION says how many seeds are played (2000), or which (17-17, 1-400).
// A fault names its seed and the command that plays it alone; what needs the bytes
// of an earlier visitor shows with the seeds before it.
package isolation
