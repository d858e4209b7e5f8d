package http1

// Fault is a reason to refuse a message. The zero value is no fault.
type Fault uint8

// What can be wrong with a message, be it seen by a parser or by who serves it: a body that is too large or too slow, a switch that nobody
// asked for. The status that answers it is Status; in a response, every fault is a 502.
const (
	NoFault            Fault = iota
	FaultLine                // request or status line is not "METHOD SP target SP HTTP/1.x" or "HTTP/1.x SP code SP reason" (RFC 9112, 3 and 4)
	FaultLineLong            // request line beyond Limits.Line
	FaultMethod              // method is not a token, or longer than 32 bytes
	FaultNotAllowed          // CONNECT or TRACE: a reverse proxy opens no tunnels and echoes nothing
	FaultVersion             // not HTTP/1.0 or HTTP/1.1
	FaultTarget              // space, control, fragment, backslash, user information, or a form that the method does not take
	FaultBareLF              // a line that does not end in CRLF
	FaultBareCR              // a CR that is not followed by LF
	FaultFold                // obs-fold: a field line that starts with white space
	FaultName                // a field name that is empty or not a token; a space before the colon
	FaultValue               // a control character in a field value
	FaultHeadLong            // head beyond Limits.Head
	FaultFields              // more fields than Limits.Fields
	FaultNoHost              // no Host
	FaultTwoHosts            // more than one Host, or an absolute target that names another
	FaultHost                // Host is not a name or address with an optional port
	FaultLength              // Content-Length is not one number of at most 18 digits
	FaultTwoLengths          // Content-Length twice, or beside Transfer-Encoding
	FaultCoding              // a transfer coding other than "chunked", or any in HTTP/1.0
	FaultConnection          // Connection or Upgrade is not a list of tokens
	FaultExpect              // an expectation other than 100-continue
	FaultChunk               // a chunk size that is not hexadecimal or too large, data without its CRLF
	FaultChunkExtra          // chunk extensions beyond Limits.ChunkExtra
	FaultTrailers            // trailers beyond Limits.Trailers, malformed, or naming framing fields
	FaultBodyLarge           // body beyond the site's limit
	FaultHeaderTimeout       // head not complete in Timeouts.Header
	FaultBodyTimeout         // body too slow
	FaultStatus              // status code outside 100 to 599
	FaultSwitch              // 101 that nobody asked for, or to another protocol
	FaultAccept              // 101 to websocket without the right Sec-WebSocket-Accept
	FaultUnswitched          // a success that switches nothing, for a client that would take it for a tunnel (RFC 8441, 5)
	FaultNoTunnel            // a protocol switch for an origin of HTTP/2 that offers none (RFC 8441, 3)
	FaultInterim             // more 1xx answers than Limits.Interim
	FaultMalformed           // what HTTP/2 itself calls malformed (RFC 9113, 8.1.1): its stream is reset, there is nothing to answer
	faultCount
)

type faultText struct {
	status int
	text   string
}

var faultTexts = [faultCount]faultText{
	NoFault:            {200, "no fault"},
	FaultLine:          {400, "malformed start line"},
	FaultLineLong:      {414, "request line too long"},
	FaultMethod:        {400, "invalid method"},
	FaultNotAllowed:    {405, "method not allowed"},
	FaultVersion:       {505, "HTTP version not supported"},
	FaultTarget:        {400, "invalid request target"},
	FaultBareLF:        {400, "line without CR LF"},
	FaultBareCR:        {400, "CR without LF"},
	FaultFold:          {400, "folded field line"},
	FaultName:          {400, "invalid field name"},
	FaultValue:         {400, "invalid field value"},
	FaultHeadLong:      {431, "header fields too large"},
	FaultFields:        {431, "too many header fields"},
	FaultNoHost:        {400, "missing Host"},
	FaultTwoHosts:      {400, "more than one Host"},
	FaultHost:          {400, "invalid Host"},
	FaultLength:        {400, "invalid Content-Length"},
	FaultTwoLengths:    {400, "ambiguous message length"},
	FaultCoding:        {501, "unsupported transfer coding"},
	FaultConnection:    {400, "invalid Connection"},
	FaultExpect:        {417, "unknown expectation"},
	FaultChunk:         {400, "malformed chunked body"},
	FaultChunkExtra:    {400, "chunk extensions too long"},
	FaultTrailers:      {400, "invalid trailers"},
	FaultBodyLarge:     {413, "request body too large"},
	FaultHeaderTimeout: {408, "request head took too long"},
	FaultBodyTimeout:   {408, "request body took too long"},
	FaultStatus:        {502, "invalid status code"},
	FaultSwitch:        {502, "unexpected protocol switch"},
	FaultAccept:        {502, "wrong Sec-WebSocket-Accept"},
	FaultUnswitched:    {502, "no switch of protocols"},
	FaultNoTunnel:      {502, "the instance takes no WebSocket over HTTP/2"},
	FaultInterim:       {502, "too many interim answers"},
	FaultMalformed:     {400, "malformed HTTP/2 message"},
}

// Status is the answer to a request with this fault.
func (f Fault) Status() int { return faultTexts[f].status }

// Error names the fault in words that hold nothing of the message.
func (f Fault) Error() string { return faultTexts[f].text }
