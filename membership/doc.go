// Package membership says who is in the cluster: how a machine asks to be let
// in, who decides, and which members are there at the moment.
//
// It has two halves. Admission is the gate: a machine knocks at a proxy over
// TLS with a key that it made itself, and gets a certificate, the gossip keys
// and the settings only once somebody accepted it. Cluster is the member list:
// serf, kept behind our own types, gives discovery, a quick hint of who is alive
// and a nudge when the catalog has changed.
//
// What Cluster says is a hint and never truth. Whoever holds the gossip key can
// forge any of it, so nothing is decided from it alone: the catalog says who
// belongs, health checks say who answers.
package membership
