# What people type. The work itself is in scripts/ and in `cargo xtask`; README.md says what each target is for.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
INSTALL ?= install

# Cargo's target folder, which CARGO_TARGET_DIR moves. Test guests are always in target/guest.
target := $(or $(CARGO_TARGET_DIR),target)
selfsame := $(target)/release/selfsame

bindir := $(DESTDIR)$(PREFIX)/bin
sharedir := $(DESTDIR)$(PREFIX)/share
bash_completions := $(sharedir)/bash-completion/completions
zsh_completions := $(sharedir)/zsh/site-functions
fish_completions := $(sharedir)/fish/vendor_completions.d

.DEFAULT_GOAL := help
.PHONY: help demo test hazards bench mac mac-planted lint fmt build setup guest guests install uninstall
# Targets share cargo's locks and the two cores of a small machine; side by side they would only wait for each other.
.NOTPARALLEL:

help:
	@echo 'make demo      watch real guests boot with identities of their own, and a twin refused'
	@echo 'make test      run all tests'
	@echo 'make hazards   run the named hazards with real processes, and count them'
	@echo 'make bench     measure against the promised numbers'
	@echo 'make mac       build, sign, verify and run the part for macOS, on Linux, as far as that goes (docs/mac.md)'
	@echo 'make lint      check format, lints and house rules'
	@echo 'make fmt       format the code'
	@echo 'make build     build the release binary and its manual pages'
	@echo 'make install   install it (PREFIX=$(PREFIX), DESTDIR=$(DESTDIR)); make uninstall removes it'
	@echo
	@echo 'The first five install what is missing (Debian, Ubuntu) and ask before they do; YES=1 does not ask.'

setup:
	@scripts/setup

guest: setup
	@$(CARGO) xtask guest

# With those that only some tests need; where one cannot be made, this says so, and its tests do.
guests: setup
	@$(CARGO) xtask guest --all

build:
	@$(CARGO) build --release --locked --package selfsame
	@$(CARGO) xtask man

demo: setup
	@$(CARGO) build --quiet --release --locked --package selfsame
	@$(CARGO) xtask guest
	@scripts/demo

test: guests
	$(CARGO) test --workspace --locked

hazards: guests
	@$(CARGO) xtask hazards

bench: guest
	@$(CARGO) xtask bench

mac:
	@scripts/setup mac
	@$(CARGO) xtask mac

# Plants faults, and sees that `make mac` would notice each of them.
mac-planted:
	@scripts/setup mac
	@$(CARGO) xtask mac planted

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) xtask check

fmt:
	$(CARGO) fmt --all

# Root often has no cargo; then `make build && sudo make install` installs what was built.
install: $(if $(shell command -v $(CARGO)),build)
	@test -x '$(selfsame)' || { echo 'error: nothing is built yet: make build' >&2; exit 1; }
	$(INSTALL) -d '$(bindir)' '$(sharedir)/man/man1' '$(sharedir)/selfsame'
	$(INSTALL) -d '$(bash_completions)' '$(zsh_completions)' '$(fish_completions)'
	$(INSTALL) -m 755 '$(selfsame)' '$(bindir)/selfsame'
	$(INSTALL) -m 644 target/man/*.1 '$(sharedir)/man/man1'
	$(INSTALL) -m 755 guest/selfsame-report.sh '$(sharedir)/selfsame/selfsame-report.sh'
	'$(selfsame)' completion bash >'$(bash_completions)/selfsame'
	'$(selfsame)' completion zsh >'$(zsh_completions)/_selfsame'
	'$(selfsame)' completion fish >'$(fish_completions)/selfsame.fish'

uninstall:
	rm -f '$(bindir)/selfsame' '$(bash_completions)/selfsame' '$(zsh_completions)/_selfsame'
	rm -f '$(fish_completions)/selfsame.fish' '$(sharedir)/selfsame/selfsame-report.sh'
	rm -f '$(sharedir)/man/man1/selfsame.1' '$(sharedir)/man/man1/selfsame-'*.1
	-rmdir '$(sharedir)/selfsame' 2>/dev/null
