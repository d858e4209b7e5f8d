package probe

import "sync"

// due are the checks whose time has come and that wait for one of maxRunning goroutines. There are only as many
// goroutines as there are checks to make.
type due struct {
	mu      sync.Mutex
	first   []*run // somebody waits for what these find; guarded by mu
	others  []*run // guarded by mu
	running int    // goroutines; guarded by mu
	wg      sync.WaitGroup
}

// add has a check made as soon as there is room for it. One that somebody waits for goes before all others.
func (d *due) add(r *run, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if first {
		d.first = append(d.first, r)
	} else {
		d.others = append(d.others, r)
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
	for _, list := range []*[]*run{&d.first, &d.others} {
		if len(*list) > 0 {
			r := (*list)[0]
			(*list)[0] = nil
			if *list = (*list)[1:]; len(*list) == 0 {
				*list = nil
			}
			return r
		}
	}
	d.running--
	return nil
}

// wait returns when no check is under way. Nothing is added any more.
func (d *due) wait() { d.wg.Wait() }
