//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "rest: needs Linux: it reads /proc")
	os.Exit(1)
}
