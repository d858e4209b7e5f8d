package deployhook

import (
	"fmt"
	"slices"
	"time"

	"portico/conf/sites"
)

const (
	// tightMemory is what an application server should have free for a release
	// whose limit is not known: a small JVM, or a dozen PHP workers.
	tightMemory = 256 << 20
	// memoryFresh is how old a report may be that is judged by.
	memoryFresh = time.Minute
)

// tightMemory warns of application servers on which the new release may not find
// memory beside the one before it, which stays for its sessions.
func (d *Deployer) tightMemory(s sites.Settings, sessions int) (notes []string) {
	if sessions == 0 || s.Kind != sites.KindRun && s.Kind != sites.KindTomcat {
		return nil
	}
	need := max(s.Limits.Memory.Bytes(), tightMemory)
	for member, free := range d.live.memory(time.Now().Add(-memoryFresh)) {
		if free < need {
			notes = append(notes, fmt.Sprintf("%s has %.1f GiB of memory free, and both releases run there until the sessions of the former one end; --no-pin (no_pin) ends them at once",
				member, float64(free)/(1<<30)))
		}
	}
	slices.Sort(notes)
	return notes
}

// TightMemory warns of application servers on which a release of a site may not find
// memory beside the present one. An empty release means one that is not known yet:
// then the present one's settings count.
func (d *Deployer) TightMemory(site, release string) []string {
	v := d.o.Catalog.View()
	rec := v.Sites[site]
	if rec == nil || rec.Release == "" {
		return nil
	}
	settings, err := rec.Effective()
	if err != nil {
		return nil
	}
	if r := v.Releases[site][release]; r != nil {
		if joined, err := rec.JoinedFor(r); err == nil {
			settings = joined.WithDefaults(site)
		}
	}
	sessions := 0
	for id, in := range v.Instances {
		if in.Site == site && in.Release == rec.Release {
			n, _, _ := d.load(id)
			sessions += n
		}
	}
	return d.tightMemory(settings, sessions)
}

// memory returns the free memory of the members that have told it since.
func (l *live) memory(since time.Time) map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int64{}
	for member, r := range l.members {
		if r.memory.Total > 0 && r.at.After(since) {
			out[member] = r.memory.Free
		}
	}
	return out
}
