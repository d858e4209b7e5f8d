package apiclient

import (
	"context"
	"time"

	"portico/membership"
	"portico/membership/catalog"
	"portico/proxy/admin/api"
)

// Members returns all members, pending ones too.
func (c *Client) Members(ctx context.Context) ([]api.MemberInfo, error) {
	return ask[[]api.MemberInfo](ctx, c, "GET", "/v1/members", nil, nil)
}

// Act does one of the verbs to a member.
func (c *Client) Act(ctx context.Context, member, verb, reason string) (api.MemberInfo, error) {
	return ask[api.MemberInfo](ctx, c, "POST", "/v1/members/"+segment(member)+"/"+segment(verb), nil, api.MemberRequest{Reason: reason})
}

// Accept lets a machine in, and gives an application server labels. A fingerprint names the one that is meant.
func (c *Client) Accept(ctx context.Context, member, fingerprint string, labels []string) (api.MemberInfo, error) {
	return ask[api.MemberInfo](ctx, c, "POST", "/v1/members/"+segment(member)+"/"+api.VerbAccept, nil, api.MemberRequest{Labels: labels, Fingerprint: fingerprint})
}

// SetLabels gives an application server these labels and no others.
func (c *Client) SetLabels(ctx context.Context, member string, labels []string) (api.LabelsAnswer, error) {
	return ask[api.LabelsAnswer](ctx, c, "POST", "/v1/members/"+segment(member)+"/labels", nil, api.LabelsRequest{Labels: labels})
}

// ForecastLabels says which sites SetLabels would move.
func (c *Client) ForecastLabels(ctx context.Context, member string, labels []string) (api.Forecast, error) {
	return ask[api.Forecast](ctx, c, "POST", "/v1/members/"+segment(member)+"/labels", dryRun(), api.LabelsRequest{Labels: labels})
}

// ForecastAct says what Act would cut.
func (c *Client) ForecastAct(ctx context.Context, member, verb string) (api.Forecast, error) {
	return ask[api.Forecast](ctx, c, "POST", "/v1/members/"+segment(member)+"/"+segment(verb), dryRun(), api.MemberRequest{})
}

// ForgetMember removes the record of a refused, revoked or pending machine.
func (c *Client) ForgetMember(ctx context.Context, name string) error {
	return c.call(ctx, "DELETE", "/v1/members/"+segment(name), nil, nil, nil)
}

// TurnedAway returns the machines that the proxy turned away lately, the latest
// first.
func (c *Client) TurnedAway(ctx context.Context) ([]membership.Turned, error) {
	return ask[[]membership.Turned](ctx, c, "GET", "/v1/turned-away", nil, nil)
}

// Invite makes a one-time code that accepts one machine.
func (c *Client) Invite(ctx context.Context, role catalog.Role, ttl time.Duration, labels ...string) (api.InviteAnswer, error) {
	var out api.InviteAnswer
	r := api.InviteRequest{Role: role, Labels: labels}
	if ttl > 0 {
		r.TTL = ttl.String()
	}
	return out, c.call(ctx, "POST", "/v1/invites", nil, r, &out)
}

// Invites returns the invites that exist.
func (c *Client) Invites(ctx context.Context) ([]api.InviteInfo, error) {
	return ask[[]api.InviteInfo](ctx, c, "GET", "/v1/invites", nil, nil)
}

// DeleteInvite makes an invite worthless.
func (c *Client) DeleteInvite(ctx context.Context, id string) error {
	return c.call(ctx, "DELETE", "/v1/invites/"+segment(id), nil, nil, nil)
}

// Keys returns the ages of the keys that members share.
func (c *Client) Keys(ctx context.Context) ([]api.KeyInfo, error) {
	return ask[[]api.KeyInfo](ctx, c, "GET", "/v1/keys", nil, nil)
}

// RotateKey replaces a key that members share: KeySession, KeyTickets or KeyGossip.
func (c *Client) RotateKey(ctx context.Context, kind string) ([]api.KeyInfo, error) {
	return ask[[]api.KeyInfo](ctx, c, "POST", "/v1/keys/"+segment(kind)+"/rotate", nil, struct{}{})
}
