package api

import (
	"net/http"
	"strconv"
	"time"
)

// What each answer says of the view that it was made from.
const (
	FieldRevision = "Portico-Revision"
	FieldAge      = "Portico-View-Age" // seconds since it was known to be up to date
)

// Standing is what an answer said of the view that it was made from.
type Standing struct {
	Revision int64
	Age      time.Duration // since it was known to be up to date
}

// StandingOf reads it from an answer.
func StandingOf(h http.Header) (st Standing) {
	st.Revision, _ = strconv.ParseInt(h.Get(FieldRevision), 10, 64) // absent from earlier versions
	seconds, _ := strconv.ParseFloat(h.Get(FieldAge), 64)
	st.Age = time.Duration(seconds * float64(time.Second))
	return st
}
