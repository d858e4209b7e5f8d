// Package relay joins a proxy's connection with one to an instance: bytes pass as they come, both
// ways, and each end is told of the other's, also whether the instance has read anything of what was
// sent last. It knows two connections, and neither who they belong to nor how they were made.
package relay
