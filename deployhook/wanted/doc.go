// Package wanted says what an application server is to run by one view of the catalog, and whether another view says the same. It is pure,
// and knows neither agents nor deploys that are under way in this process: what becomes of an answer is deployhook's.
package wanted
