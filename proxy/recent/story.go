package recent

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"portico/proxy/exchange/account"
	"portico/proxy/fault"
	"portico/proxy/http1"
)

// story is what is told of a trace, in the order in which it happened.
type story struct {
	*trace
	instance string // the last that was tried, in words
	out      []Step
	picked   bool                     // it is told why an instance was chosen
	moved    map[account.StepKind]int // where in out the bytes of this try are told
	now      int                      // the try that runs
	told     int                      // the last one whose failure is told
}

// story tells the steps. Reads and writes of a long body are told as one.
func (t *trace) story(instance string) []Step {
	s := &story{trace: t, instance: instance, moved: map[account.StepKind]int{}}
	if t.steps == 0 || t.step[0].What != account.StepRead {
		s.say(ms(t.Request()), "read", "request head read")
	}
	for i := range t.step[:t.steps] {
		s.tell(&t.step[i])
	}
	if t.Sent > 0 {
		s.say(ms(time.Duration(t.Sent-t.Start)), "sent", "the request is complete at the instance")
	}
	s.pick(ms(t.Request()))
	if t.steps == tracedSteps {
		s.say(ms(t.Total()), "…", "there were more steps than are kept")
	}
	s.say(ms(t.Total()), "done", "%s", t.outcome())
	slices.SortStableFunc(s.out, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	return s.out
}

func (s *story) say(at float64, step, format string, args ...any) {
	s.out = append(s.out, Step{At: at, Step: step, Text: fmt.Sprintf(format, args...)})
}

// tell tells one step.
func (s *story) tell(step *account.Step) {
	at := ms(step.At())
	switch step.What {
	case account.StepRead:
		s.say(at, "read", "request head read, %d bytes", step.N)
	case account.StepRoute:
		if s.Site == "" {
			s.say(at, "route", "no site")
		} else {
			s.say(at, "route", "site %s", s.Site)
		}
	case account.StepConnect:
		s.connect(at, int(step.N))
	case account.StepWriteUpstream, account.StepReadUpstream:
		s.bytes(at, step)
	case account.StepConnectFailed, account.StepFail, account.StepTimeout:
		if !s.failed(at, step.What.String()) && s.now != s.told {
			s.say(at, step.What.String(), "%s", stepText(step))
		}
	default:
		if text := stepText(step); text != "" {
			s.say(at, step.What.String(), "%s", text)
		}
	}
}

// connect tells of a try, after the failure of the one before it.
func (s *story) connect(at float64, try int) {
	if s.Queue > 0 && try == 1 {
		s.say(at, "queue", "waited %.1f ms for a place", ms(s.Queue))
	}
	if try > s.now {
		s.failed(at, account.StepFail.String())
		s.now = try
		clear(s.moved)
	}
	if s.now > s.Retries {
		s.pick(at)
	}
	s.say(at, "connect", "try %d: %s", try, s.attempt(try, s.instance))
}

// failed tells why the present try failed, once; it reports whether it has told.
func (s *story) failed(at float64, step string) bool {
	if s.trouble == nil || s.now == 0 || s.now == s.told || s.now > len(s.trouble.tries) {
		return false
	}
	s.told = s.now
	s.say(at, step, "try %d failed: %s", s.now, s.trouble.tries[s.now-1].Error)
	return true
}

// pick tells why the last instance was chosen, once.
func (s *story) pick(at float64) {
	if !s.picked && s.Site != "" {
		s.picked = true
		s.say(at, "pick", "%s", s.choice(s.instance))
	}
}

// bytes tells of bytes to or from the instance, all of a try as one.
func (s *story) bytes(at float64, step *account.Step) {
	i, told := s.moved[step.What]
	if !told {
		s.moved[step.What] = len(s.out)
		s.say(at, step.What.String(), "%d bytes", step.N)
		return
	}
	var n int32
	_, _ = fmt.Sscanf(s.out[i].Text, "%d", &n)
	s.out[i].Text = fmt.Sprintf("%d bytes, the last at %.3f ms", n+step.N, at)
}

// attempt names the instance of a try.
func (t *trace) attempt(n int, last string) string {
	if b := t.trouble; b != nil && n <= len(b.tries) {
		return b.tries[n-1].Instance
	}
	return cmp.Or(last, "an instance")
}

// choice says why the last instance was chosen, or none.
func (t *trace) choice(instance string) string {
	h := &t.pick
	why := "by the site's policy"
	switch {
	case !h.picked && h.none != 0:
		return "no instance: " + h.none.String()
	case !h.picked && instance == "":
		return "answered without an instance"
	case h.pinned:
		why = "its session is there"
	case t.lost() != "" && t.trouble.lostFrom != "":
		why = fmt.Sprintf("its session was on %s and is lost: %s", t.trouble.lostFrom, t.lost())
	case t.lost() != "":
		why = "its session is lost: " + t.lost()
	case h.refused != 0:
		why = "a new session: its cookie was refused, " + h.refused.String()
	case h.began:
		why = "a new session, by the site's policy"
	}
	if h.guess {
		why += "; no instance is known to be up, so it is a guess"
	}
	return cmp.Or(instance, "an instance") + ": " + why
}

// text words a step that needs nothing else; empty: it says nothing to people.
func stepText(s *account.Step) string {
	switch s.What {
	case account.StepConnected:
		if s.N == 1 {
			return "on a kept connection"
		}
		return "connected"
	case account.StepConnectFailed:
		return "no connection: " + account.Cause(s.N).String()
	case account.StepInterim:
		return fmt.Sprintf("interim answer %d", s.N)
	case account.StepHead:
		return fmt.Sprintf("first byte of the answer: status %d", s.N)
	case account.StepUpgrade:
		return "upgraded to another protocol"
	case account.StepRefuse:
		return "refused: " + http1.Fault(s.N).Error()
	case account.StepFail:
		return "failed: " + account.Cause(s.N).String()
	case account.StepTimeout:
		return "a time limit passed"
	case account.StepDrop:
		return "the connection to the instance is closed"
	case account.StepRelease, account.StepWrite, account.StepFinish, account.StepRead, account.StepRoute, account.StepConnect, account.StepWriteUpstream, account.StepReadUpstream:
	}
	return ""
}

// outcome says how it ended.
func (t *trace) outcome() string {
	text := fmt.Sprintf("answered with status %d", t.Status)
	if t.Status == fault.StatusClientClosed {
		text = "the client went away before it had its answer"
	}
	switch t.Cause {
	case account.CauseNone, account.CauseRequest:
	case account.CauseClient:
		if t.Status != fault.StatusClientClosed {
			text += ", which the client did not take to its end"
		}
	default:
		text += ", broken off: " + t.Cause.String()
	}
	if t.trouble != nil && t.trouble.err != "" {
		text += ": " + t.trouble.err
	}
	return text
}
