package admin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"portico/membership/catalog"
)

type deployView struct {
	D     *catalog.Deploy
	Verbs []verbView
	Took  string
	Steps []stepView
}

type stepView struct {
	Member, Class, Detail string
	Step                  catalog.Step
	Done, Total           int64
}

func (s *Server) deployView(c *call, d *catalog.Deploy) deployView {
	v := deployOf(d)
	if d.State == catalog.DeployRunning {
		v.Verbs = s.offered(c.who, pageTarget{Site: d.Site}, verbCancel)
	}
	return v
}

func deployOf(d *catalog.Deploy) deployView {
	v := deployView{D: d}
	if !d.Ended.IsZero() {
		v.Took = formatAge(d.Ended.Sub(d.Created))
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
