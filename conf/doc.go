// Package conf is portico's configuration as data: what may be set, what the
// default is, and what is refused.
//
// Three sources are laid over one another, each stronger than the one before:
// the file (strict TOML), PORTICO_… variables, flags. Load reads the first two
// without touching the system; flags are laid on top with Config.Set. Every
// mistake is found in one go and reported as a list, each with its place and,
// where there is one, the nearest valid name.
//
// Sites, members, accounts and settings of the cluster are not in here: they
// are in the catalog, changed through the API. The one exception is a static
// site, whose application servers run no agent.
package conf
