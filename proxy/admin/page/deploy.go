package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"portico/membership/catalog"
	"portico/proxy/admin/access"
)

type deployView struct {
	D     *catalog.Deploy
	Verbs []Verb
	Took  string
	Steps []stepView
}

type stepView struct {
	Member, Class, Detail string
	Step                  catalog.Step
	Done, Total           int64
}

// deploysShown is how many of the last deploys a page shows.
const deploysShown = 6

// deploysOf are the last deploys of some sites.
func deploysOf(f *Frame, view *catalog.View, of func(site string) bool) (out []deployView) {
	for _, d := range view.Deploys {
		if len(out) < deploysShown && of(d.Site) {
			out = append(out, deployOf(f.Who, d))
		}
	}
	return out
}

func deployOf(who *access.Identity, d *catalog.Deploy) deployView {
	v := deployView{D: d}
	if d.State == catalog.DeployRunning {
		v.Verbs = offered(who, Target{Site: d.Site}, VerbCancel)
	}
	if !d.Ended.IsZero() {
		v.Took = Age(d.Ended.Sub(d.Created))
		if t := d.Ended.Sub(d.Created); t < 10*time.Second {
			v.Took = fmt.Sprintf("%.1f s", t.Seconds())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.Members)) {
		p := d.Members[name]
		step := stepView{Member: name, Step: p.Step, Class: "s-drain"}
		switch p.Step {
		case catalog.StepInRotation, catalog.StepHealthy:
			step.Class = "s-up"
		case catalog.StepFailed:
			step.Class = "s-down"
			if !strings.Contains(d.Error, p.Detail) && !strings.Contains(d.Error, name) { // which stands above
				step.Detail = p.Detail
			}
		case catalog.StepWaiting, catalog.StepStopped:
			step.Class = "s-nocheck"
		case catalog.StepFetching:
			step.Done, step.Total = p.Done, p.Total
		}
		v.Steps = append(v.Steps, step)
	}
	return v
}
