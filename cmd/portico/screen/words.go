package screen

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"portico/internal/exitcode"
)

// Interrupted words what a command says that was ended from outside, by Ctrl-C mostly: what it
// left going on, without the request that was cut short.
func Interrupted(err error) error {
	text := Uncaused(err)
	if text == "" {
		return errors.New("interrupted")
	}
	return fmt.Errorf("interrupted: %s", text)
}

// Uncaused is what was going on when a signal ended it, without the words for that.
func Uncaused(err error) string {
	text := canceledText.ReplaceAllString(err.Error(), "")
	return strings.TrimSuffix(requestText.ReplaceAllString(text, ""), ": ")
}

// canceledText is what Go says of a context that a signal has ended.
var canceledText = regexp.MustCompile(`(context canceled|\w+ signal received)$`)

// Late words what a command says whose time was up: what it was doing, not the library's word for it.
func Late(err error) error {
	text, found := strings.CutSuffix(err.Error(), context.DeadlineExceeded.Error())
	if !found {
		return err // somebody has found words for it
	}
	text = strings.TrimSuffix(requestText.ReplaceAllString(text, ""), ": ")
	if text != "" {
		text += ": "
	}
	return exitcode.Timeout(text + "no answer in time: the other side is down or very busy, or a firewall is in between")
}

// requestText is what net/http says of a request before its error.
var requestText = regexp.MustCompile(`[A-Z][a-z]+ "https?://[^"]*": $`)
