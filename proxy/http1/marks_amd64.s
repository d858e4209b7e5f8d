#include "textflag.h"

// Sixteen times each: a colon, the greatest control character below the space, DEL.
DATA marked<>+0(SB)/8, $0x3a3a3a3a3a3a3a3a
DATA marked<>+8(SB)/8, $0x3a3a3a3a3a3a3a3a
DATA marked<>+16(SB)/8, $0x1f1f1f1f1f1f1f1f
DATA marked<>+24(SB)/8, $0x1f1f1f1f1f1f1f1f
DATA marked<>+32(SB)/8, $0x7f7f7f7f7f7f7f7f
DATA marked<>+40(SB)/8, $0x7f7f7f7f7f7f7f7f
GLOBL marked<>(SB), RODATA|NOPTR, $48

// Of sixteen bytes in b: c becomes their colons, o their control characters. b and t are lost.
#define SIXTEEN(b, t, c, o) \
	MOVO b, t; \
	PCMPEQB X13, t; \
	PMOVMSKB t, c; \
	MOVO b, t; \
	PMINUB X14, t; \
	PCMPEQB b, t; \
	PCMPEQB X12, b; \
	POR b, t; \
	PMOVMSKB t, o

// func marks(b *[64]byte) (colons, odd uint64)
TEXT ·marks(SB), NOSPLIT, $0-24
	MOVQ b+0(FP), SI
	MOVOU marked<>+0(SB), X13
	MOVOU marked<>+16(SB), X14
	MOVOU marked<>+32(SB), X12
	MOVOU 0(SI), X0
	MOVOU 16(SI), X1
	MOVOU 32(SI), X2
	MOVOU 48(SI), X3
	SIXTEEN(X0, X4, AX, BX)
	SIXTEEN(X1, X5, CX, DX)
	SHLQ $16, CX
	SHLQ $16, DX
	ORQ  CX, AX
	ORQ  DX, BX
	SIXTEEN(X2, X6, CX, DX)
	SHLQ $32, CX
	SHLQ $32, DX
	ORQ  CX, AX
	ORQ  DX, BX
	SIXTEEN(X3, X7, CX, DX)
	SHLQ $48, CX
	SHLQ $48, DX
	ORQ  CX, AX
	ORQ  DX, BX
	MOVQ AX, colons+8(FP)
	MOVQ BX, odd+16(FP)
	RET
