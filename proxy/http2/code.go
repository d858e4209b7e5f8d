package http2

// code is an error code of RST_STREAM and GOAWAY (RFC 9113, 7).
type code uint32

const (
	codeNone        code = 0x0
	codeProtocol    code = 0x1
	codeInternal    code = 0x2
	codeFlow        code = 0x3
	codeSettings    code = 0x4 // SETTINGS_TIMEOUT
	codeClosed      code = 0x5 // STREAM_CLOSED
	codeFrameSize   code = 0x6
	codeRefused     code = 0x7 // REFUSED_STREAM
	codeCancel      code = 0x8
	codeCompression code = 0x9
	codeCalm        code = 0xb // ENHANCE_YOUR_CALM
	codeHTTP1       code = 0xd // HTTP_1_1_REQUIRED
)
