package proxies

// Merged puts the lists of two proxies together.
var Merged = merged
