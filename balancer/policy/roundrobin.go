package policy

// roundRobin takes the upstreams in turn, each as often as its weight asks for,
// spread evenly. The order is worked out beforehand, so that a turn is one
// atomic addition and no lock.
func (g *Group[U]) roundRobin(q *Query[U]) U {
	n := uint64(len(g.schedule))
	// A rejected turn is taken anew from the common counter, so that the
	// neighbour of a full upstream does not get all of its share.
	for range g.schedule {
		i := int(g.schedule[(g.turn.Add(1)-1)%n])
		if g.fits(q, &g.up[i]) {
			return g.up[i].Up
		}
	}
	var none U
	return none
}

// maxSchedule bounds a schedule; weights that would need more are rounded.
const maxSchedule = 4096

// schedule returns the order of a smooth weighted round robin: at each step
// every upstream gains its weight, the richest is taken and pays the sum
// (nginx, ngx_http_upstream_get_peer). Each index appears at least once.
func schedule(weights []uint32) []uint16 {
	if len(weights) == 0 {
		return nil
	}
	reduced, total := reduce(weights)
	gain := make([]int64, len(reduced))
	out := make([]uint16, 0, total)
	for range total {
		best := 0
		for i, w := range reduced {
			gain[i] += w
			if gain[i] > gain[best] {
				best = i
			}
		}
		gain[best] -= total
		out = append(out, uint16(best))
	}
	return out
}

// reduce divides weights by their greatest common divisor, and rounds them where
// their sum would still pass maxSchedule.
func reduce(weights []uint32) (reduced []int64, total int64) {
	var divisor, sum int64
	for _, w := range weights {
		divisor = gcd(divisor, int64(w))
		sum += int64(w)
	}
	for sum/divisor > maxSchedule && sum/divisor > int64(len(weights)) {
		divisor++
	}
	for _, w := range weights {
		r := max((int64(w)+divisor/2)/divisor, 1)
		reduced = append(reduced, r)
		total += r
	}
	return reduced, total
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
