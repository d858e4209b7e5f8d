package proxy

// AcceptKey is for servers that tests run.
var AcceptKey = acceptKey
