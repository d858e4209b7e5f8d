package probe

import "sync"

// due are the checks whose time has come and that wait for one of maxRunning goroutines. There are only as many
// goroutines as there are checks to make.
type due struct {
	mu      sync.Mutex
	first   []place // somebody waits for what these find; guarded by mu
	others  []place // guarded by mu
	turn    int     // checks taken since one of others was, while both waited; guarded by mu
	running int     // goroutines; guarded by mu
	wg      sync.WaitGroup
}

// place is a check's place among those that are due. Who asks again gets another one, and the one before is worth nothing.
type place struct {
	run    *run
	ticket uint64
}

func (p place) valid() bool { return p.run.ticket.Load() == p.ticket }

// fairShare is how many checks at a time may go before the others: visitors of servers that are gone ask for checks without end.
const fairShare = 3

// add has a check made as soon as there is room for it. One that somebody waits for goes before most others.
func (d *due) add(r *run, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := place{r, r.ticket.Add(1)}
	if first {
		d.first = append(d.first, p)
	} else {
		d.others = append(d.others, p)
	}
	if d.running < maxRunning {
		d.running++
		d.wg.Go(d.work)
	}
}

// work makes checks until none is due.
func (d *due) work() {
	for {
		r := d.next()
		if r == nil {
			return
		}
		r.check()
	}
}

// next takes the check that is to be made next; nil: none, and the caller's goroutine is not counted any more.
func (d *due) next() *run {
	d.mu.Lock()
	defer d.mu.Unlock()
	dropInvalid(&d.first)
	dropInvalid(&d.others)
	list := &d.first
	switch {
	case len(d.others) == 0:
		d.turn = 0
	case len(d.first) == 0 || d.turn >= fairShare:
		list, d.turn = &d.others, 0
	default:
		d.turn++
	}
	if len(*list) == 0 {
		d.running--
		return nil
	}
	r := (*list)[0].run
	*list = (*list)[1:]
	return r
}

// dropInvalid takes away the places before the first valid one.
func dropInvalid(list *[]place) {
	l := *list
	for len(l) > 0 && !l[0].valid() {
		l = l[1:]
	}
	if len(l) == 0 {
		l = nil // lets go of what it held
	}
	*list = l
}

// wait returns when no check is under way. Nothing is added any more.
func (d *due) wait() { d.wg.Wait() }
