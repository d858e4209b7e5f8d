# make            build ./portico
# make test       install what the tests need, then run all of them (-race); RUN=REGEXP: only those of that name
# make lint       staticcheck, and libraries with known vulnerabilities
# make golangci   the linters of .golangci.yml; compiling them takes minutes
# make types      check for the other systems, without compiling
# make cross      compile for the other systems
# make bench      benchmarks beside the code
# make bench-peers  portico beside HAProxy, nginx and Caddy, in turns
# make bench-scale  thousands of sites in one proxy, thousands of files in one site; SCALE='-lines 1,3 -sites 1000'
# make fuzz       every fuzz target for FUZZTIME each
# make isolation  whether bytes reach only their owners: ISOLATION drawn scenes on each way through the proxy
# make newcomer   both commands of the README in clones, in each place where somebody may be; about two hours, or PLACE='a user'
# make soak       the long end-to-end run: 30 minutes, or PORTICO_SOAK_FOR

GO          ?= go
TEST         = $(GO) run ./tests/run
FUZZTIME    ?= 30s
ISOLATION   ?= 2000
GOLANGCI    ?= github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS      = -s -w -X main.version=$(VERSION)
UNIT         = $(shell $(GO) list ./... | grep -v '^portico/tests$$')
# The race detector needs a C compiler; without one the tests run without it.
HAS_CC       = $(shell printf '\043include <stdlib.h>\n' | gcc -x c -c -o /dev/null - 2>/dev/null && echo yes)
RACE         = $(if $(HAS_CC),-race)
BUILT        = $(if $(HAS_CC),,PORTICO_TEST_RACE=0)
CROSS        = linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

# Tests that the race detector makes do less, see tests/support/race.
WITHOUT_RACE = '^(TestMemory|TestAllocs|TestSimulation|TestSessionsOutliveTheirPaths|TestRush|TestLargeTableComesTogether|TestEnginesAllocateNothing|TestManyRecordsStartQuickly|TestSecondDeployShipsOnlyWhatChanged|TestTurnsAreShort|TestLongTurnsAreSeen|TestIsolation|TestTurnsWithStreamsAreShort|TestIdleMemory|TestStreamsAllocateNothing|TestH2AllocatesNothing|TestH2Idle|TestRestTakesLittle)$$'

# A program with the race detector waits a second at its end for goroutines that
# still run; the tests start hundreds, and stop what they start.
export GORACE ?= atexit_sleep_ms=20

# Go asks git for the commit and builds nothing where git refuses to tell, as of a clone that is another user's.
export GOFLAGS := $(strip $(shell $(GO) env GOFLAGS; git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false))

# Tests build programs in the temporary folder and run them there: where that is mounted noexec, in another one.
export TMPDIR := $(shell for d in "$${TMPDIR:-/tmp}" /var/tmp "$(CURDIR)"; do f=$$(mktemp -p "$$d" 2>/dev/null) || continue; \
  printf '\043!/bin/sh\n' >"$$f"; chmod 755 "$$f"; "$$f" 2>/dev/null && ok=$$d; rm -f "$$f"; [ -z "$$ok" ] || { echo "$$ok"; break; }; done)

.PHONY: build test compile race plain unit e2e lint golangci types cross bench bench-peers bench-scale fuzz isolation newcomer soak tools

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o portico ./cmd/portico

test: tools compile race $(if $(RUN),,plain)

tools:
	sh tests/tools.sh

# One after the other: two go commands at a time would compile the same twice.
compile:
	$(GO) build $(RACE) ./cmd/... ./tests/...
	$(GO) vet ./...

# The end-to-end tests wait more than they compute: they run beside the others.
race:
	$(BUILT) PORTICO_TEST_ENGINE=auto $(TEST) $(RACE) -vet=off -p 3 -parallel 4 -timeout 30m $(if $(RUN),-run '$(RUN)') ./tests $(UNIT)

# The data path is tested with its other engine.
plain:
	PORTICO_TEST_ENGINE=conn $(TEST) -vet=off -timeout 20m ./proxy
	CGO_ENABLED=0 $(TEST) -vet=off -timeout 20m -run '^TestGroupRefused$$' ./deployhook/agent
	PORTICO_TEST_ENGINE=loop $(TEST) -vet=off -timeout 20m -run '^TestIsolation$$' ./proxy
	$(TEST) -vet=off -timeout 20m -run $(WITHOUT_RACE) ./balancer ./deployhook ./membership/catalog ./proxy/conn ./proxy/loop

unit:
	PORTICO_TEST_ENGINE=auto $(TEST) $(RACE) -timeout 20m $(UNIT)

e2e:
	$(BUILT) $(TEST) -parallel 4 -timeout 30m ./tests

lint:
	$(GO) tool staticcheck ./...
	$(GO) run ./tests/vuln

golangci:
	$(GO) run $(GOLANGCI) run

types:
	$(GO) run ./tests/types $(CROSS)

cross:
	@for t in $(CROSS); do echo "compile for $$t"; \
	  GOOS=$${t%/*} GOARCH=$${t#*/} CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/portico || exit 1; done

bench:
	$(GO) test -run '^$$' -bench . -benchmem $(UNIT)

bench-peers:
	sh tests/bench/peers.sh
	$(GO) run ./tests/bench

bench-scale:
	$(GO) run ./tests/bench/scale $(SCALE)

fuzz:
	@for p in $(UNIT); do for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	  echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

isolation:
	PORTICO_ISOLATION=$(ISOLATION) $(GO) test -timeout 2h -run '^TestIsolation$$' -v ./proxy ./proxy/loop

newcomer:
	$(GO) run ./tests/newcomer $(if $(PLACE),'$(PLACE)')

soak:
	PORTICO_SOAK=1 $(GO) test -timeout 24h -run '^TestHTTP2Download$$' -v ./proxy
	PORTICO_SOAK=1 $(GO) test -timeout 24h -run Soak -v ./tests/
