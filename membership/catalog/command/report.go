package command

import (
	"errors"
	"fmt"
	"maps"

	"portico/conf/sites"
	"portico/membership/catalog"
	"portico/membership/catalog/ids"
	"portico/membership/catalog/messages"
)

// maxReported is the most instances that one application server may have.
const maxReported = 4096

// ApplyReport takes in what a member says about its instances: new and changed
// ones are written, those that it does not name any more are removed, and it is
// noted what runs on the machine. A report that tells nothing new writes
// nothing. The member can speak for its own instances only.
func ApplyReport(tx *catalog.Tx, member string, r messages.Report) error {
	m, err := acceptedMember(tx, member)
	if err != nil {
		return err
	}
	if len(r.Instances) > maxReported {
		return fmt.Errorf("%w: member %q reports %d instances, the most is %d", catalog.ErrInvalid, member, len(r.Instances), maxReported)
	}
	named := map[string]bool{}
	for _, in := range r.Instances {
		if in.ID == "" {
			continue // an attempt that has not started a process yet
		}
		named[in.ID] = true
		if err := applyInstance(tx, member, in.Instance); err != nil {
			return err
		}
	}
	for id, in := range tx.View().Instances {
		if in.Member == member && !named[id] {
			tx.DeleteInstance(id)
		}
	}
	if r.Version != "" && (m.Version != r.Version || r.Runtimes != nil && !maps.Equal(m.Runtimes, r.Runtimes)) {
		m.Version = r.Version
		if r.Runtimes != nil { // an agent that has just started does not know them yet
			m.Runtimes = r.Runtimes
		}
		return tx.PutMember(m)
	}
	return nil
}

func applyInstance(tx *catalog.Tx, member string, in catalog.Instance) error {
	if err := ids.ValidInstance(in.ID); err != nil {
		return err
	}
	if err := errors.Join(sites.ValidName("site", in.Site), ids.ValidRelease(in.Release)); err != nil {
		return fmt.Errorf("instance %s: %w", in.ID, err)
	}
	switch in.State {
	case catalog.InstanceStarting, catalog.InstanceHealthy, catalog.InstanceFailing, catalog.InstanceExited:
	default:
		return fmt.Errorf("%w: instance %s has state %.40q", catalog.ErrInvalid, in.ID, in.State)
	}
	if in.Port < 0 || in.Port > 65535 {
		return fmt.Errorf("%w: instance %s has port %d", catalog.ErrInvalid, in.ID, in.Port)
	}
	old := tx.View().Instances[in.ID]
	if old != nil && old.Member != member {
		return fmt.Errorf("%w: instance %s belongs to member %q, %q cannot report it", catalog.ErrConflict, in.ID, old.Member, member)
	}
	if old != nil && (old.Site != in.Site || old.Release != in.Release) {
		return fmt.Errorf("%w: instance %s is of site %q, release %s, for good: it cannot become one of site %q, release %s", catalog.ErrConflict, in.ID, old.Site, ids.ShortRelease(old.Release), in.Site, ids.ShortRelease(in.Release))
	}
	if in.Admin, in.Drain, in.Overdue, in.Leaving = "", nil, false, false; old != nil {
		in.Admin, in.Drain, in.Overdue, in.Leaving = old.Admin, old.Drain, old.Overdue, old.Leaving
	}
	in.Member = member
	in.Detail = trim(in.Detail, 1000)
	in.Started = in.Started.UTC()
	return tx.PutInstance(in)
}
