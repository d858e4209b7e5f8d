// Package page is the statistics page: the overview of all sites, the page of each, the
// questions that its buttons ask, login and refusals, as HTML. It also says which buttons
// there are, and who sees them: who may use the API's route for the same deed.
//
// It shows what it is given: it reads no catalog, asks no proxy and does nothing. The
// listener's handlers gather what the caller may see, and do
// what a button means.
package page
