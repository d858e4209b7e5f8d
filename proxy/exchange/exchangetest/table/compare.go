package table

import (
	"fmt"
	"slices"
	"strings"
)

// Differences compares what client and origin saw of a row with what the row wants, by meaning: whatever the order of fields, and the
// framing of bodies. client ends in "<reset>" where the connection was reset. What differs comes in words.
func (c Case) Differences(client string, origin []string) []string {
	got, rest := Answers(strings.TrimSuffix(client, "<reset>"), c.Methods())
	out := c.Differ(got, strings.HasSuffix(client, "<reset>"), origin)
	if want, ok := c.Answers(); rest != "" && ok && len(want) == len(got) {
		out = append(out, "behind the answers: "+Clip(rest))
	}
	return out
}

// Differ is Differences for answers that have been read already. cut says that the connection or the stream was reset.
func (c Case) Differ(got []Message, cut bool, origin []string) []string {
	out := c.differAnswers(got, cut)
	if len(origin) != len(c.Origin) {
		return append(out, fmt.Sprintf("origin got %d requests %.300q, want %d", len(origin), origin, len(c.Origin)))
	}
	for i := range origin {
		got, want := Request(origin[i]), Request(c.Origin[i])
		got.Fields = slices.DeleteFunc(got.Fields, func(f string) bool { return strings.HasPrefix(f, "X-Forwarded-") })
		if d := got.Differs(&want); d != "" {
			out = append(out, fmt.Sprintf("request %d at the origin: %s", i+1, d))
		}
	}
	return out
}

// Methods of the requests that reach the origin, in order.
func (c Case) Methods() []string {
	var methods []string
	for _, r := range c.Origin {
		m, _, _ := strings.Cut(r, " ")
		methods = append(methods, m)
	}
	return methods
}

// Answers is what the client must see; false: only that it must not look complete.
func (c Case) Answers() ([]Message, bool) {
	if strings.HasSuffix(c.Client, "<reset>") || c.Client == wildcard {
		return nil, false
	}
	text := strings.TrimPrefix(c.Client, wildcard)
	if head, ok := strings.CutSuffix(text, "\r\n"+wildcard); ok && !strings.Contains(head, "\r\n\r\n") {
		text = head + "\r\n" + wildcard + "\r\n\r\n"
	}
	want, _ := Answers(text, c.Methods())
	return want, true
}

func (c Case) differAnswers(got []Message, cut bool) (out []string) {
	want, ok := c.Answers()
	if !ok {
		if c.Client != wildcard && !cut && len(got) > 0 && !got[len(got)-1].part {
			return []string{"an answer that was cut looks complete"}
		}
		return nil
	}
	if strings.HasPrefix(c.Client, wildcard) && len(got) > 0 {
		got = got[len(got)-1:]
	}
	if len(got) != len(want) {
		return []string{fmt.Sprintf("client got %d answers %s, want %d", len(got), Clip(fmt.Sprint(got)), len(want))}
	}
	for i := range got {
		got[i].Fields = slices.DeleteFunc(got[i].Fields, ours)
		if d := got[i].Differs(&want[i]); d != "" {
			out = append(out, fmt.Sprintf("answer %d: %s", i+1, d))
		}
	}
	return out
}

// ours are fields of an answer that the whole proxy adds, and a driver by itself does not.
func ours(f string) bool { return strings.HasPrefix(f, "Date: ") || f == "Cache-Control: private" }
