package deeds

import (
	"context"
	"net/http"
	"time"

	"portico/deployhook"
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/membership/catalog/command"
	"portico/proxy/admin/api"
)

// Member does a verb on a member.
func (d *Deeds) Member(ctx context.Context, who string, now time.Time, verb, name string, in api.MemberRequest) error {
	if d.Admission == nil && (verb == api.VerbAccept || verb == api.VerbRefuse || verb == api.VerbRevoke) {
		return refusal.NotOffered("admission")
	}
	switch verb {
	case api.VerbAccept:
		return d.Admission.Accept(ctx, name, in.Fingerprint, who, in.Labels...)
	case api.VerbRefuse:
		return d.Admission.Refuse(ctx, name, in.Reason, who)
	case api.VerbRevoke:
		return d.Admission.Revoke(ctx, name, in.Reason, who)
	case api.VerbDrain:
		return d.Drain(ctx, who, now, deployhook.Target{Member: name}, in.DrainRequest)
	case api.VerbReady:
		return d.setAdmin(ctx, name, catalog.AdminReady)
	case api.VerbMaint:
		return d.setAdmin(ctx, name, catalog.AdminMaint)
	}
	return refusal.NotFound("", "there is no verb %q", verb)
}

func (d *Deeds) setAdmin(ctx context.Context, name string, state catalog.AdminState) error {
	_, err := d.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		m, err := command.SetMemberAdmin(tx, name, state)
		if err == nil && m.Role != catalog.RoleServer {
			return refusal.New(http.StatusConflict, "conflict", "", "member %q is a proxy: only application servers take sessions", name)
		}
		return err
	})
	return err
}
