package figures

// Frontend is the traffic of one listener at one moment.
type Frontend struct {
	Name string `json:"name"` // "http", "https"
	Addr string `json:"addr"` // host:port that it listens on

	Conns       int     `json:"conns"` // client connections
	ConnsMax    int     `json:"conns_max"`
	ConnsLimit  int     `json:"conns_limit"` // 0: none
	ConnTotal   uint64  `json:"conn_total"`
	ConnRate    float64 `json:"conn_rate"` // connections a second
	ConnRateMax float64 `json:"conn_rate_max"`
	Requests    uint64  `json:"requests"`
	ReqRate     float64 `json:"req_rate"` // requests a second
	ReqRateMax  float64 `json:"req_rate_max"`
	BytesIn     uint64  `json:"bytes_in"`
	BytesOut    uint64  `json:"bytes_out"`
	Denied      uint64  `json:"denied"` // requests refused by a rule
	DeniedConns uint64  `json:"-"`      // connections refused by a rule
	Errors      uint64  `json:"errors"` // requests that could not be read
	Intercepted uint64  `json:"-"`      // answered by the proxy itself
	H1Sessions  uint64  `json:"-"`      // HTTP/1 connections
	H2Sessions  uint64  `json:"-"`      // HTTP/2 connections
	H1Requests  uint64  `json:"-"`
	H2Requests  uint64  `json:"-"`
	Responses   `json:"responses"`
}
