package site

// UpstreamID is the id of an upstream of the configuration file, which has no agent to
// give it one. Cookies are made from it: the proxy and the export must mean the same.
func UpstreamID(site, name string) string { return site + "/" + name }
