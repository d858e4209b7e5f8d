package deployhook

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"portico/membership/catalog"
)

// FailureGroup is members that failed in one and the same way.
type FailureGroup struct {
	Members  []string               // by name, at least one
	Progress catalog.MemberProgress // of the first
}

// Failures groups the members of a deploy that failed by what they say, so that a release that
// is broken everywhere is told once, and one server's own trouble is not lost among the others'.
// Times, ports and other numbers that differ from one server to the next do not tell two apart.
func Failures(members map[string]catalog.MemberProgress) []FailureGroup {
	var groups []FailureGroup
	known := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		p := members[name]
		if p.Step != catalog.StepFailed {
			continue
		}
		k := failureKey(p)
		if i, ok := known[k]; ok {
			groups[i].Members = append(groups[i].Members, name)
			continue
		}
		known[k] = len(groups)
		groups = append(groups, FailureGroup{Members: []string{name}, Progress: p})
	}
	return groups
}

// Who says which members these are: "server-1", or "on 3 servers (server-1, server-2, server-3)".
func (g FailureGroup) Who() string {
	if len(g.Members) == 1 {
		return g.Members[0]
	}
	names, more := g.Members, ""
	if len(names) > namedMembers {
		names, more = names[:namedMembers], ", …"
	}
	return fmt.Sprintf("on %d servers (%s%s)", len(g.Members), strings.Join(names, ", "), more)
}

const (
	namedMembers = 10 // a line that can still be read
	namedGroups  = 5
)

// What is measured or handed out, and so differs though the failure is the same.
var (
	varying = regexp.MustCompile(`\b[0-9.]+(ns|µs|ms|s)\b|:[0-9]{4,5}\b`)
	numbers = regexp.MustCompile(`[0-9a-f]*[0-9][0-9a-f]*`)
)

// failureKey is the same for failures that are the same to a person. Of the log its last line
// counts, which mostly says why; stamps and process ids in it do not.
func failureKey(p catalog.MemberProgress) string {
	k := varying.ReplaceAllString(p.Detail, "#")
	if p.Probe != nil && !p.Probe.OK {
		k += fmt.Sprintf("\x00%s %d %s", p.Probe.Code, p.Probe.Status, varying.ReplaceAllString(p.Probe.Error, "#"))
	}
	if n := len(p.Log); n > 0 {
		k += "\x00" + numbers.ReplaceAllString(p.Log[n-1], "#")
	}
	return k
}

// describeFailures is the deploy's error: every way in which it failed.
func describeFailures(groups []FailureGroup) string {
	var lines []string
	for i, g := range groups {
		if i == namedGroups {
			lines = append(lines, fmt.Sprintf("and in %d other ways on other servers", len(groups)-i))
			break
		}
		lines = append(lines, g.Who()+": "+describeFailure(g.Progress))
	}
	return strings.Join(lines, "\n")
}

func describeFailure(p catalog.MemberProgress) string {
	text := p.Detail
	if text == "" {
		text = "it failed"
	}
	if check := LastCheck(p); check != "" {
		text += "; last check: " + check
	}
	return text
}

// LastCheck says what the last check of a member found. It is "" where that was well, and where the
// detail tells of it: whoever shows both shows it once.
func LastCheck(p catalog.MemberProgress) string {
	c := p.Probe
	if c == nil || c.OK || p.Detail != "" && (c.Error != "" && strings.Contains(p.Detail, c.Error) || c.Code != "" && strings.Contains(p.Detail, c.Code)) {
		return ""
	}
	text := c.Code
	if c.Status != 0 {
		text += fmt.Sprintf(", status %d", c.Status)
	}
	text += " after " + c.Latency.Std().Round(time.Millisecond).String()
	if c.Error != "" {
		text += ": " + c.Error
	}
	return text
}
