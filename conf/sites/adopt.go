package sites

// Values of session.adopt.
const (
	AdoptNone  = "none"
	AdoptUsual = "JSESSIONID SRV SERVERID ROUTEID BALANCEID" // as the manuals of Tomcat, HAProxy and Apache have them
)
