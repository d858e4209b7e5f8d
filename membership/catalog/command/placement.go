package command

import (
	"fmt"
	"slices"
	"time"

	"portico/conf/sites"
	"portico/membership/catalog"
)

// validLabels checks labels and returns them sorted, each once.
func validLabels(labels []string) ([]string, error) {
	out := slices.Compact(slices.Sorted(slices.Values(labels)))
	if len(out) > sites.MaxLabels {
		return nil, fmt.Errorf("%w: %d labels, the most is %d", catalog.ErrInvalid, len(out), sites.MaxLabels)
	}
	for _, l := range out {
		if err := sites.ValidName("label", l); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// LabelMember gives an application server exactly these labels. A label that is
// another accepted member's name is refused: a site that names it would mean both.
func LabelMember(tx *catalog.Tx, name string, labels []string) (catalog.Member, error) {
	labels, err := validLabels(labels)
	if err != nil {
		return catalog.Member{}, err
	}
	m, err := tx.Member(name)
	if err != nil {
		return catalog.Member{}, err
	}
	if m.Role != catalog.RoleServer && len(labels) > 0 {
		return catalog.Member{}, fmt.Errorf("%w: member %q is a proxy: labels place sites on application servers", catalog.ErrConflict, name)
	}
	for _, other := range tx.Members() {
		if other.Name != name && other.Admission == catalog.Accepted && slices.Contains(labels, other.Name) {
			return catalog.Member{}, fmt.Errorf("%w: label %q is the name of a member: choose another word, such as %q", catalog.ErrConflict, other.Name, "zone-"+other.Name)
		}
	}
	m.Labels = labels
	return m, tx.PutMember(m)
}

// checkNameIsNoLabel refuses a machine whose name is a label of another server:
// it chose the name by itself, and would get the sites that are placed by it.
func checkNameIsNoLabel(tx *catalog.Tx, m catalog.Member) error {
	for _, other := range tx.Members() {
		if other.Name != m.Name && slices.Contains(other.Labels, m.Name) && other.Admission == catalog.Accepted {
			return fmt.Errorf("%w: the name %q of this machine is a label of member %q, and sites are placed by it: start the machine with another --name", catalog.ErrConflict, m.Name, other.Name)
		}
	}
	return nil
}

// MoveAway lets an instance keep its sessions and get no new ones, because its site
// does not belong on its server any more. What operators ordered of it stays.
func MoveAway(tx *catalog.Tx, id string, deadline, now time.Time) error {
	in, err := tx.Instance(id)
	if err != nil || in.Admin == catalog.AdminDrain || in.Admin == catalog.AdminMaint {
		return ignoreNotFound(err)
	}
	in.Admin, in.Overdue, in.Leaving = catalog.AdminDrain, false, true
	in.Drain = &catalog.DrainOrder{Since: now.UTC(), By: "portico", Deadline: deadline.UTC()}
	in.Drain.Left = span(in.Drain)
	return tx.PutInstance(in)
}

// MovedAway notes that an instance which leaves its server has no session left: its
// agent is to stop it.
func MovedAway(tx *catalog.Tx, id string) error {
	in, err := tx.Instance(id)
	if err != nil || in.Admin != catalog.AdminDrain {
		return ignoreNotFound(err)
	}
	in.Admin, in.Drain, in.Leaving = catalog.AdminMaint, nil, true
	return tx.PutInstance(in)
}

// StayAfterAll takes MoveAway back: the site belongs on the server again.
func StayAfterAll(tx *catalog.Tx, id string) error {
	in, err := tx.Instance(id)
	if err != nil || !in.Leaving {
		return ignoreNotFound(err)
	}
	in.Admin, in.Drain, in.Overdue, in.Leaving = "", nil, false, false
	return tx.PutInstance(in)
}
