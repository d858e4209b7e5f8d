// Package streams is what an answer or a body goes through that lasts longer than a moment,
// or that is not meant for who asked: uploads under deadlines that move with their bytes,
// events and text as they come, an answer that is watched or buffered.
//
// How long a request may last, and whether its caller still may, is the admin listener's.
package streams
