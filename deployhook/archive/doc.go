// Package archive reads the archives that people upload and writes the ones
// that clients send: zip (also .war), tar, tar.gz and tar.zst.
//
// Reading is defensive. The format is told from the content, never from the
// name; every entry is checked before its first byte is handed out; and one bad
// entry refuses the archive whole, with the entry's name and the rule that it
// broke. Nothing but paths, contents and the executable bit comes out of an
// archive: no links, devices, owners, times or other modes.
//
// Writing is deterministic: the same folder gives the same bytes.
package archive
