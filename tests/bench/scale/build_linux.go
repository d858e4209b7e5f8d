package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// profiler makes a program write CPU profiles: from one SIGPWR to the next.
//
//go:embed profiler.go.in
var profiler []byte

// programs returns what is measured, built in a folder of its own where it has to be.
func (b *bench) programs(ctx context.Context, program, beside string) (list []string, cleanup func(), err error) {
	dir, err := os.MkdirTemp("", "scale")
	if err != nil {
		return nil, nil, err
	}
	cleanup = func() { _ = os.RemoveAll(dir) }
	if program == "" {
		program = filepath.Join(dir, "portico")
		if err := b.build(ctx, dir, program); err != nil {
			cleanup()
			return nil, nil, err
		}
	}
	list = []string{program}
	if beside != "" {
		list = append(list, beside)
	}
	return list, cleanup, nil
}

func (b *bench) build(ctx context.Context, dir, program string) error {
	args := []string{"build", "-o", program}
	if b.profile != "" {
		if err := os.MkdirAll(b.profile, 0o755); err != nil {
			return err
		}
		overlay, err := overlay(ctx, dir)
		if err != nil {
			return err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "portico/cmd/portico")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as releases are built
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build portico: %w\n%s", err, out)
	}
	return nil
}

// overlay puts the profiler into the command's package, for the compiler's eyes only.
func overlay(ctx context.Context, dir string) (string, error) {
	at, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "portico/cmd/portico").Output()
	if err != nil {
		return "", fmt.Errorf("find the command's package: %w", err)
	}
	source, list := filepath.Join(dir, "profiler.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(source, profiler, 0o600); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(string(at[:len(at)-1]), "profiler.go"): source}})
	if err != nil {
		return "", err
	}
	return list, os.WriteFile(list, b, 0o600)
}

// profiled are the variables with which a program writes profiles, named after a line; from its
// start on and for so long unless that is zero.
func (b *bench) profiled(line string, length time.Duration) []string {
	if b.profile == "" {
		return nil
	}
	name, err := filepath.Abs(filepath.Join(b.profile, "line"+line))
	if err != nil {
		return nil
	}
	env := []string{"PORTICO_BENCH_PROFILE=" + name}
	if length > 0 {
		env = append(env, "PORTICO_BENCH_PROFILE_FOR="+length.String())
	}
	return env
}
