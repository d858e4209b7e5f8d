package catalog

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// reservedWhole is the largest record with all sites of a configuration file. One record is written anew whole for each site that
// changes, and every proxy takes it in; beyond this the sites have records of their own.
const reservedWhole = 8 << 10

// ReservedBy returns what a proxy's own configuration has of the hosts: its records, by the names under which View.Reserved has them.
func (v *View) ReservedBy(proxy string) map[string]*Reserved {
	out := map[string]*Reserved{}
	for name, r := range v.Reserved {
		if name == proxy || strings.HasPrefix(name, proxy+"/") {
			out[name] = r
		}
	}
	return out
}

// PutReserved writes what a proxy's own configuration has of the hosts: the records that differ.
func (tx *Tx) PutReserved(r Reserved) {
	gone := tx.view.ReservedBy(r.Proxy)
	for name, part := range r.records() {
		if old := gone[name]; old == nil || !old.equal(part) {
			set(tx, preReserved+name, part)
		}
		delete(gone, name)
	}
	for name := range gone {
		tx.remove(preReserved + name)
	}
}

// DeleteReserved removes what a proxy's own configuration has of the hosts.
func (tx *Tx) DeleteReserved(proxy string) {
	for name := range tx.view.ReservedBy(proxy) {
		tx.remove(preReserved + name)
	}
}

// records are what is stored of r, by name.
func (r Reserved) records() map[string]Reserved {
	data, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("BUG: encode %T: %v", r, err))
	}
	if len(data) <= reservedWhole {
		return map[string]Reserved{r.Proxy: r}
	}
	out := map[string]Reserved{r.Proxy: {Proxy: r.Proxy, Admin: r.Admin}}
	for _, s := range r.Sites {
		out[r.Proxy+"/"+s.Name] = Reserved{Proxy: r.Proxy, Sites: []ReservedSite{s}}
	}
	return out
}

func (r *Reserved) equal(o Reserved) bool {
	return r.Proxy == o.Proxy && slices.Equal(r.Admin, o.Admin) && slices.EqualFunc(r.Sites, o.Sites, func(a, b ReservedSite) bool {
		return a.Name == b.Name && a.Path == b.Path && slices.Equal(a.Hosts, b.Hosts)
	})
}
