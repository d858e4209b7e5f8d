package page

import (
	"portico/internal/refusal"
	"portico/membership/catalog"
	"portico/proxy/admin/access"
	"portico/proxy/admin/api"
)

// Verb is one of the page's buttons, and its question.
type Verb struct {
	Verb, Text, Question, Effect, Done string // %s stands for the target
	Danger                             bool
	Reason                             bool // may be given one
	Ways                               bool // takes --move and --deadline
	Pins                               bool // takes --no-pin
	Upload                             bool // takes an archive

	On    string // what kind of target it is for
	route string // of the API, whose permission it asks for
}

// The verbs of the page beside those of members.
const (
	VerbDeploy   = "deploy"
	VerbRollback = "rollback"
	VerbRemove   = "remove"
	VerbCancel   = "cancel"
	VerbCut      = "cut"
	VerbMove     = "move"
	VerbEnd      = "end"
)

// verbs lists every button. The API has a route for each, and the command a verb.
func verbs() []Verb {
	const member, instance, session = "POST /v1/members/{member}/", "POST /v1/sites/{site}/instances/{instance}/{verb}", "POST /v1/sessions/{site}/{id}/"
	return []Verb{
		{Verb: api.VerbAccept, On: OnMember, route: member + api.VerbAccept, Text: "Accept", Question: "Accept %s into the cluster?", Done: "%s was accepted.",
			Effect: "It gets a certificate, the cluster's settings and every site. Compare its key with what the machine shows first."},
		{Verb: api.VerbRefuse, On: OnMember, route: member + api.VerbRefuse, Text: "Refuse", Question: "Turn %s away?", Done: "%s was refused.", Danger: true, Reason: true,
			Effect: "It is told so and gets nothing. It may knock again with another key."},
		{Verb: api.VerbDrain, On: OnMember, route: member + api.VerbDrain, Text: "Drain", Question: "Drain %s?", Done: "%s drains: it keeps its sessions and takes no new ones.", Ways: true,
			Effect: "Visitors who have a session stay until it ends. New visitors go elsewhere."},
		{Verb: api.VerbReady, On: OnMember, route: member + api.VerbReady, Text: "Ready", Question: "Take %s back into rotation?", Done: "%s takes new visitors again.",
			Effect: "New visitors come as soon as its checks pass. A drain ends with it."},
		{Verb: api.VerbMaint, On: OnMember, route: member + api.VerbMaint, Text: "Maint", Question: "Put %s into maintenance?", Done: "%s is in maintenance.", Danger: true,
			Effect: "It takes nothing from now on: its visitors move to other instances and lose what only it remembered. To let them end first, drain it."},
		{Verb: api.VerbRevoke, On: OnMember, route: member + api.VerbRevoke, Text: "Revoke", Question: "Revoke %s for good?", Done: "%s was revoked.", Danger: true, Reason: true,
			Effect: "Its certificate is worthless at once on every proxy and member, and the gossip key changes. It can come back only with a new key and a new acceptance."},

		{Verb: VerbDeploy, On: OnNothing, route: "PUT /v1/sites/{site}/archive", Text: "New site", Question: "Install a new site?", Done: "The deploy of %s has begun.", Upload: true,
			Effect: "It appears on every application server, also on those that join later. A release that does not get healthy changes nothing."},
		{Verb: VerbDeploy, On: OnSite, route: "PUT /v1/sites/{site}/archive", Text: "Deploy", Question: "Deploy a new release of %s?", Done: "The deploy of %s has begun.", Upload: true, Pins: true,
			Effect: "New visitors get the new release once it is healthy everywhere. A release that does not get healthy changes nothing."},
		{Verb: VerbCancel, On: OnSite, route: "POST /v1/sites/{site}/cancel", Text: "Cancel", Question: "Cancel the running deploy of %s?", Done: "The deploy of %s was cancelled.", Danger: true,
			Effect: "It ends as failed. The release before it stays as it is; what the new one has started is stopped."},
		{Verb: VerbRemove, On: OnSite, route: "DELETE /v1/sites/{site}", Text: "Remove", Question: "Remove the site %s from all application servers?", Done: "%s was removed.", Danger: true,
			Effect: "Its processes end and its releases are forgotten. Its data folders stay on the application servers."},
		{Verb: VerbRollback, On: OnRelease, route: "POST /v1/sites/{site}/rollback", Text: "Roll back", Question: "Roll back to %s?", Done: "The rollback to %s has begun.", Pins: true,
			Effect: "New visitors get this release once it is healthy everywhere."},

		{Verb: api.VerbDrain, On: OnRelease, route: "POST /v1/sites/{site}/releases/{release}/drain", Text: "Drain", Question: "Change the drain of %s?", Done: "The drain of %s has changed.", Ways: true,
			Effect: "A former release keeps its sessions until they end or the site's pin time is over. Moved sessions go to the present release."},
		{Verb: VerbCut, On: OnRelease, route: "POST /v1/sites/{site}/releases/{release}/drain", Text: "Cut", Question: "End the former release %s now?", Done: "%s ends now.", Danger: true,
			Effect: "Its sessions lose their instance at once; their visitors move to the present release with the next request."},
		{Verb: api.VerbDrain, On: OnInstance, route: instance, Text: "Drain", Question: "Drain %s?", Done: "%s drains: it keeps its sessions and takes no new ones.", Ways: true,
			Effect: "Visitors who have a session stay until it ends. New visitors go to other instances."},
		{Verb: api.VerbReady, On: OnInstance, route: instance, Text: "Ready", Question: "Take %s back into rotation?", Done: "%s takes new visitors again.",
			Effect: "New visitors come as soon as its checks pass. A drain ends with it."},
		{Verb: api.VerbMaint, On: OnInstance, route: instance, Text: "Maint", Question: "Put %s into maintenance?", Done: "%s is in maintenance.", Danger: true,
			Effect: "It takes nothing from now on: its visitors move to other instances and lose what only it remembered."},
		{Verb: VerbMove, On: OnSession, route: session + VerbMove, Text: "Move", Question: "Move %s?", Done: "%s moves with its next request.",
			Effect: "Its next request is placed on another instance, with the cause operator. What only the present one remembers is lost to it."},
		{Verb: VerbEnd, On: OnSession, route: session + VerbEnd, Text: "End", Question: "End %s?", Done: "%s has ended.", Danger: true,
			Effect: "Its cookie is refused from now on: the visitor begins anew with the next request. Nothing that runs is cut."},
	}
}

// VerbOf returns the button of that name for a kind of target.
func VerbOf(name, on string) (Verb, bool) {
	for _, v := range verbs() {
		if v.Verb == name && v.On == on {
			return v, true
		}
	}
	return Verb{}, false
}

// May is the permission that the API's route for a button asks for.
func (v *Verb) May(who *access.Identity, site string) *refusal.Error {
	return access.May(who, v.route, site)
}

// offered are those of some verbs that the caller may use on a target.
func offered(who *access.Identity, t Target, names ...string) (out []Verb) {
	for _, name := range names {
		if v, ok := VerbOf(name, t.Kind()); ok && v.May(who, t.Site) == nil {
			out = append(out, v)
		}
	}
	return out
}

// instanceVerbs are the buttons of an instance in a state. One of a former release
// takes no new visitors as it is.
func instanceVerbs(admin catalog.AdminState, retiring bool) []string {
	switch {
	case admin == catalog.AdminDrain:
		return []string{api.VerbReady, api.VerbMaint}
	case admin == catalog.AdminMaint && retiring:
		return []string{api.VerbReady}
	case admin == catalog.AdminMaint:
		return []string{api.VerbReady, api.VerbDrain}
	case retiring:
		return []string{api.VerbMaint}
	}
	return []string{api.VerbDrain, api.VerbMaint}
}
