// Package forecast says what a change would do to sessions before anybody makes it: which
// it would cut and which stay, and where sites would move. The API's dry runs and the
// page's questions show the same.
//
// It reads a view of the catalog and the pools of all proxies, and changes nothing.
package forecast
