package client

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"portico/deployhook/logs"
)

// TestLogsAfterABreak: what a proxy tells again after a break is printed once, also where lines are alike and the servers' clocks are not.
func TestLogsAfterABreak(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		f := &logFollower{out: &out, json: asJSON, began: time.Now(), last: map[string]*logs.LastLines{}}
		line := func(second int, member, text string) string {
			at := time.Date(2026, 11, 30, 20, 0, second, 0, time.UTC).Format(time.RFC3339Nano)
			if asJSON {
				return `{"at":"` + at + `","member":"` + member + `","release":"3f2a9c","instance":"one","text":"` + text + `"}` + "\n"
			}
			return at + " " + member + " 3f2a9c | " + text + "\n"
		}
		asked := logs.Query{Site: "shop", Lines: 10, Follow: true}
		if q := f.query(asked); q != asked {
			t.Errorf("at first: %+v", q)
		}
		before := line(30, "a", "tick") + line(40, "b", "old") + line(40, "b", "tick") + line(41, "b", "tick") + line(41, "b", "tock")
		cut := line(42, "b", "whole")
		_, _ = f.Write([]byte(before + cut[:len(cut)/2]))
		q := f.query(asked)
		if want := time.Date(2026, 11, 30, 20, 0, 27, 0, time.UTC); !q.Since.Equal(want) || q.Lines != -1 || !q.Follow {
			t.Errorf("after the break: %+v", q)
		}
		fresh := line(31, "a", "tick") + cut + line(43, "b", "tick") + line(1, "c", "new")
		again := line(30, "a", "tick") + line(35, "b", "long before") + before[strings.Index(before, line(40, "b", "old")):]
		for _, piece := range strings.SplitAfter(again+fresh, " ") {
			_, _ = f.Write([]byte(piece))
		}
		if got := out.String(); got != before+fresh {
			t.Errorf("printed\n%s\nwant\n%s", got, before+fresh)
		}
	}
}
