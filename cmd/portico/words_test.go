package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"portico/cmd/portico/screen"
	"portico/internal/exitcode"
)

// TestInterrupted: who presses Ctrl-C is told what goes on, in words.
func TestInterrupted(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "interrupted",
		`Get "https://127.0.0.1:7443/v1/x": `: "interrupted",
		`deploy 1 goes on: portico deploys 1 shows it: Get "https://127.0.0.1:7443/v1/x": `: "interrupted: deploy 1 goes on: portico deploys 1 shows it",
	} {
		for _, cause := range []error{context.Canceled, errors.New("interrupt signal received")} {
			if got := screen.Interrupted(fmt.Errorf("%s%w", text, cause)).Error(); got != want {
				t.Errorf("%q by %q: %q, want %q", text, cause, got, want)
			}
		}
	}
}

// No command ends with the library's word for a time that was up.
func TestLateSaysWhatItDid(t *testing.T) {
	request := fmt.Errorf(`wait for the servers: Get "https://10.0.0.1:7443/v1/stats": %w`, context.DeadlineExceeded)
	for _, err := range []error{request, context.DeadlineExceeded} {
		got := screen.Late(err)
		if strings.Contains(got.Error(), "deadline exceeded") || strings.Contains(got.Error(), "https://") || !strings.Contains(got.Error(), "no answer in time") || exitCode(got) != exitcode.TimedOut {
			t.Errorf("%q ends with %d: %q", err, exitCode(got), got)
		}
	}
	if !strings.HasPrefix(screen.Late(request).Error(), "wait for the servers: ") {
		t.Errorf("what was done is lost: %q", screen.Late(request))
	}
	if err := errors.Join(context.DeadlineExceeded, errors.New("with words")); screen.Late(err) != err {
		t.Error("words of its own were replaced")
	}
}
