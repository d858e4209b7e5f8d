package process

import (
	"fmt"
	"io"
)

// Shim is of no use on Windows, where a job object holds the limits.
func Shim(args []string, stderr io.Writer) int {
	fmt.Fprintln(stderr, "portico: this subcommand is not for Windows")
	return 2
}
