package command

import (
	"slices"
	"testing"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"PORT": "20001", "A": "$PORT"}
	in := []string{"$PORT", "--p=${PORT}", "$$PORT", "$NONE-", "$A", "plain"}
	want := []string{"20001", "--p=20001", "$PORT", "-", "$PORT", "plain"}
	if got := Expand(in, vars); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
