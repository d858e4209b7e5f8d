// Package origins holds what every driver must do alike with upstreams that speak HTTP/2, whose connections many requests share.
package origins
