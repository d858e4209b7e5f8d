//go:build !windows

package conf

const defaultDir = "/var/lib/portico"
