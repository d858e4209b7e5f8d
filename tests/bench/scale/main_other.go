//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "scale: needs Linux: it reads /proc and binds all addresses of loopback")
	os.Exit(1)
}
