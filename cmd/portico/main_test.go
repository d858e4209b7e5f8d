package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"portico/internal/exitcode"
)

func TestUsageNamesSubcommands(t *testing.T) {
	var stdout, stderr strings.Builder
	code := run(t.Context(), []string{"account", "list"}, nil, strings.NewReader(""), &stdout, &stderr)
	if code != exitcode.Usage || !strings.Contains(stderr.String(), "portico account add|") {
		t.Errorf("exit code %d, %s", code, stderr.String())
	}
}

func TestOverrides(t *testing.T) {
	tests := []struct{ pairs, want, err string }{
		{pairs: "session.idle=1h", want: `{"session":{"idle":"1h"}}`},
		{pairs: "session.idle=", want: `{"session":{"idle":null}}`},
		{pairs: "limits.body=3", want: `{"limits":{"body":"3"}}`},
		{pairs: "limits.body=256MiB limits.files=9", want: `{"limits":{"body":"256MiB","files":9}}`},
		{pairs: "hosts=a.example,b.example strip=true", want: `{"hosts":["a.example","b.example"],"strip":true}`},
		{pairs: `run=["sh","-c","a,b"]`, want: `{"run":["sh","-c","a,b"]}`},
		{pairs: "env.LEVEL=3 env.X.Y=z", want: `{"env":{"LEVEL":"3","X.Y":"z"}}`},
		{pairs: "limits.bodi=3", err: `unknown setting "limits.bodi": did you mean "limits.body"?`},
		{pairs: "session.idle=soon", err: `session.idle: "soon" is not a duration`},
		{pairs: "limits.files=many", err: `limits.files: "many" is not a whole number`},
		{pairs: "limits.cpu=nan", err: `limits.cpu: "nan" is not a number`},
		{pairs: "limits.cpu=-inf", err: `limits.cpu: "-inf" is not a number`},
		{pairs: "limits=3", err: "is a table"},
		{pairs: "limits", err: "write KEY=VALUE"},
		{pairs: `run=["sh"`, err: "run: read as JSON"},
	}
	for _, tt := range tests {
		got, err := overrides(strings.Fields(tt.pairs))
		switch {
		case tt.err == "" && (err != nil || string(got) != tt.want):
			t.Errorf("%s: %s, %v; want %s", tt.pairs, got, err, tt.want)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: %s, error %v; want %s", tt.pairs, got, err, tt.err)
		}
	}
}

func TestFit(t *testing.T) {
	text := "one\ntwo and more\nthree\nfour\n"
	if got, want := fit(text, 6, 9, ""), "one\ntwo a…\nthree\nfour\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := fit(text, 20, 4, "."), "one.\ntwo and more.\n… 2 lines more.\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestSaid: a warning about memory is given once, though its number has changed meanwhile; another server's is another one.
func TestSaid(t *testing.T) {
	before := []string{"server-1 has 22.7 GiB of memory free, and so on", "something else"}
	for note, want := range map[string]bool{
		"server-1 has 22.8 GiB of memory free, and so on": true,
		"server-2 has 22.7 GiB of memory free, and so on": false,
		"something else":             true,
		"server-1 has other trouble": false,
	} {
		if got := said(before, note); got != want {
			t.Errorf("%q: %v", note, got)
		}
	}
}

// TestInterrupted: who presses Ctrl-C is told what goes on, in words.
func TestInterrupted(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "interrupted",
		`Get "https://127.0.0.1:7443/v1/x": `: "interrupted",
		`deploy 1 goes on: portico deploys 1 shows it: Get "https://127.0.0.1:7443/v1/x": `: "interrupted: deploy 1 goes on: portico deploys 1 shows it",
	} {
		for _, cause := range []error{context.Canceled, errors.New("interrupt signal received")} {
			if got := interrupted(fmt.Errorf("%s%w", text, cause)).Error(); got != want {
				t.Errorf("%q by %q: %q, want %q", text, cause, got, want)
			}
		}
	}
}
