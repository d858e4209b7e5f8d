// Package listener is an agent's door: mutual TLS, whose server name says what is meant. A proxy's connection is
// joined with one to the instance; what the agent answers itself goes to a handler. It knows who is connected and
// when a proxy moved bytes last. What an instance is, and which objects an application server may have, it asks.
package listener
