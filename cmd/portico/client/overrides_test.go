package client

import (
	"strings"
	"testing"
)

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
