# Thin aliases; each recipe is the command itself.
.PHONY: build test race ci demo tools format lint generate bench browser counterparts faults performance

VERSION = $(shell git describe --tags --always --dirty)
LDFLAGS = -s -w -X main.version=$(VERSION) -X main.commit=$(shell git rev-parse HEAD)

build:    ; CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/rolegate ./cmd/rolegate
test:     ; go test ./...
race:     ; go test -race ./...
ci:       ; .ci/run
demo:     ; go run ./cmd/rolegate demo
tools:    ; GOBIN=$(CURDIR)/bin go -C tools install tool
format:   tools ; bin/gofumpt -w $$(git ls-files '*.go')
lint:     tools ; go vet ./... && bin/staticcheck ./... && cd test/counterparts/collector && go vet ./... && $(CURDIR)/bin/staticcheck ./...
generate: ; go test ./config ./cmd/rolegate ./internal/audit ./deploy/observability -run Reference -update
counterparts: ; ROLEGATE_COUNTERPARTS=1 go test -count=1 -timeout 20m -p 1 ./test/counterparts/... && ROLEGATE_COUNTERPARTS=1 go -C test/counterparts/collector test -count=1 -timeout 5m ./...
browser:  ; ROLEGATE_BROWSER=1 go test -count=1 -timeout 5m ./internal/console
faults:   ; ROLEGATE_FAULTS=1 go test -count=1 -timeout 10m ./test/faults && ROLEGATE_FAULTS=1 go test -count=1 -timeout 10m -run TestSoak ./internal/gateway
performance:  ; go run ./test/bench -page -json performance.json
bench:    ; go test -run '^$$' -bench . -benchmem ./...
