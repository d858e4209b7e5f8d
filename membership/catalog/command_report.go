package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// maxReported is the most instances that one application server may have.
const maxReported = 4096

// ApplyReport takes in what a member says about its instances: new and changed
// ones are written, those that it does not name any more are removed, and it is
// noted what runs on the machine. A report that tells nothing new writes
// nothing. The member can speak for its own instances only.
func ApplyReport(tx *Tx, member string, r Report) error {
	m, err := acceptedMember(tx, member)
	if err != nil {
		return err
	}
	if len(r.Instances) > maxReported {
		return fmt.Errorf("%w: member %q reports %d instances, the most is %d", ErrInvalid, member, len(r.Instances), maxReported)
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
	for _, id := range slices.Sorted(maps.Keys(tx.view.Instances)) {
		if tx.view.Instances[id].Member == member && !named[id] {
			tx.DeleteInstance(id)
		}
	}
	if r.Version != "" && (m.Version != r.Version || !maps.Equal(m.Runtimes, r.Runtimes)) {
		m.Version, m.Runtimes = r.Version, r.Runtimes
		return tx.PutMember(m)
	}
	return nil
}

func applyInstance(tx *Tx, member string, in Instance) error {
	if err := ValidInstanceID(in.ID); err != nil {
		return err
	}
	if err := errors.Join(ValidName("site", in.Site), ValidDigest(in.Release)); err != nil {
		return fmt.Errorf("instance %s: %w", in.ID, err)
	}
	switch in.State {
	case InstanceStarting, InstanceHealthy, InstanceFailing, InstanceExited:
	default:
		return fmt.Errorf("%w: instance %s has state %.40q", ErrInvalid, in.ID, in.State)
	}
	old := tx.view.Instances[in.ID]
	if in.Admin, in.Drain, in.Overdue = "", nil, false; old != nil {
		in.Admin, in.Drain, in.Overdue = old.Admin, old.Drain, old.Overdue
	}
	if old != nil && old.Member != member {
		return fmt.Errorf("%w: instance %s belongs to member %q, %q cannot report it", ErrConflict, in.ID, old.Member, member)
	}
	in.Member = member
	in.Detail = trim(in.Detail, 1000)
	in.Started = in.Started.UTC()
	return tx.PutInstance(in)
}
