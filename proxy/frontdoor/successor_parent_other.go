//go:build !linux

package frontdoor

import "os/exec"

func managersChild(*exec.Cmd) (wait func()) { return nil }
