// Package figures is what a proxy counts at one moment: of its front ends, of
// the pools and of their upstreams. Who counts fills one snapshot; the page, the
// JSON of the API, the CSV, the metrics, portico top and the export all read it.
//
// A field's tag is its name in GET /v1/stats, which docs/api.md promises. A
// field without one there is for the other readers.
package figures
