package sites

import "maps"

// clone copies settings deeply, so that no change reaches those that they came from. An empty list
// and none are the same, but for the lists where they are not.
func clone(s *Settings) Settings {
	out := *s
	for _, list := range []*[]string{
		&out.Hosts, &out.Servers, &out.Run, &out.Data, &out.Exclude, &out.Deploy.Before,
		&out.Hook.Install, &out.Hook.Activate, &out.Hook.Remove,
	} {
		*list = append([]string(nil), *list...)
	}
	if out.Rewrite != nil {
		out.Rewrite = append([]Rewrite{}, out.Rewrite...)
	}
	out.Env = nil
	if len(s.Env) > 0 {
		out.Env = maps.Clone(s.Env)
	}
	return out
}
