// Package members is an agent's way to the other members of the cluster: it asks proxies for the wanted
// state, reports to them, and says where objects are to be had. What to do with a wanted state, and what
// a proxy's answer means for an instance, is the agent's.
package members
