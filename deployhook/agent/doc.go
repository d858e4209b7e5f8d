// Package agent is the application server's side of a deploy: it brings the
// machine to the state that the cluster wants and keeps it there.
//
// One loop does everything. It asks a proxy what this member should run,
// compares that with what runs, fetches the objects that are missing, assembles
// the release, starts an instance, proves it healthy and reports. The same loop
// runs at start, after a nudge and on a timer, so a member that joined late, was
// restarted or was cut off converges without code of its own. What was wanted
// last is kept on disk: a restarted agent brings its sites back, and adopts the
// processes that still run, without any proxy.
//
// Traffic arrives over mutual TLS. The server name says which instance is
// meant, and from there on bytes are relayed as they come.
//
// This package brings a release from the wanted state to the report. Package listener knows who is
// connected, members talks to the other members, static serves the files of a static site, and
// health checks. The other folders below are what a start needs of the machine.
package agent
