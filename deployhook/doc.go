// Package deployhook brings an uploaded archive to every application server.
//
// The receiver has an upload spooled and checked whole and its files kept as
// objects (deployhook/upload), and commits release, deploy and candidate to the
// catalog in one change: before that, nothing of an upload can be seen. The
// controller then walks the deploy by what the agents report: waves, failures
// and promotion are decided by Plan, which is pure. Agents ask what they should
// run (deployhook/wanted, pure as well), fetch objects and report; the handlers for them
// are here, the agent itself is in deployhook/agent, and what they are answered
// with in deployhook/reply. Sites' logs are read by deployhook/logs. Who follows a deploy hears of
// it from deployhook/history.
//
// Everything that matters is in the catalog, so a restarted proxy goes on where
// it stopped. What is only in memory is liveness (who has been heard of) and
// the bytes of transfers under way.
package deployhook
