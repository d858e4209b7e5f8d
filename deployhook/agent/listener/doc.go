// Package listener is where proxies and members reach an agent, by mutual TLS. The server name says what a connection is for. The listener
// joins a proxy's connection with one to the instance, and hands requests to the agent itself to a handler. It knows who is connected, and
// when a proxy moved bytes last. It asks the agent what an instance is, and which objects an application server may have.
package listener
