# krait: see `make help`.

# ---- settings ---------------------------------------------------------------------------------------------------------------------------
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
BINDIR  ?= $(PREFIX)/bin
INCLUDEDIR ?= $(PREFIX)/include
MANDIR  ?= $(PREFIX)/share/man
DESTDIR ?=
BUILD   ?= build
SETUP   ?= 1
FUZZ_SECONDS ?= 600
V       ?= 0

VERSION := $(shell sed -n 's/^\#define KRAIT_VERSION_STRING "\(.*\)"/\1/p' include/krait/version.h)
SONAME  := libkrait.so.0

# The caller's CFLAGS, CPPFLAGS and LDFLAGS are added to these, never replaced.
WARN      := -Wall -Wextra -Wpedantic -Wconversion
BASE_CFLAGS := -std=c11 -O2 -g -fPIC -fvisibility=hidden -fno-semantic-interposition -pthread $(WARN)
BASE_CPPFLAGS := -D_GNU_SOURCE -Iinclude -Ilib
LIBS      := -ldl -lm -pthread
SANITIZE  := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@echo "  $(1)")

# Objects live in a directory keyed by compiler and flags, so that builds never mix.
key  = $(shell printf '%s' '$(CC) $(CPPFLAGS) $(CFLAGS) $(1)' | cksum | cut -d' ' -f1)
OBJ := $(BUILD)/obj-$(call key,)
SAN := $(BUILD)/san-$(call key,san)
TSAN := $(BUILD)/tsan-$(call key,tsan)

SOURCES := $(wildcard lib/*.c)
PYTHON_SOURCES := $(sort $(wildcard bridge/python/krait/*.py))
OBJECTS := $(SOURCES:lib/%.c=$(OBJ)/%.o) $(OBJ)/sources.o
SAN_OBJECTS := $(SOURCES:lib/%.c=$(SAN)/%.o) $(SAN)/sources.o

.DEFAULT_GOAL := all
.PHONY: all install uninstall setup demo test check bench test-pythons fuzz lint help clean
.SUFFIXES:
.DELETE_ON_ERROR:

# ---- library ------------------------------------------------------------------------------------------------------------------------------
all: $(BUILD)/libkrait.so $(BUILD)/libkrait.a $(BUILD)/krait.pc $(BUILD)/krait

$(OBJ)/%.o: lib/%.c
	$(call say,CC $<)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE_CPPFLAGS) $(CPPFLAGS) $(BASE_CFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# The Python sources as C data: od writes bytes, sed makes them initialisers. Needs no Python and no xxd.
$(BUILD)/sources.c: $(PYTHON_SOURCES) Makefile
	$(call say,GEN $@)
	$(Q)mkdir -p $(@D) && { \
	echo '#include "bridge.h"'; \
	for f in $(PYTHON_SOURCES); do \
	    n=$$(basename $$f .py); \
	    echo "static const unsigned char $${n}_text[] = {"; \
	    od -An -v -tu1 $$f | sed 's/[0-9][0-9]*/&,/g'; \
	    echo '0 };'; \
	done; \
	echo 'const krait__source krait__sources[] = {'; \
	for f in $(PYTHON_SOURCES); do \
	    n=$$(basename $$f .py); m=krait.$$n; [ $$n != __init__ ] || m=krait; \
	    echo "{ \"$$m\", $${n}_text, sizeof $${n}_text - 1 },"; \
	done; \
	echo '{ NULL, NULL, 0 } };'; } > $@

$(OBJ)/sources.o: $(BUILD)/sources.c
	$(call say,CC $<)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE_CPPFLAGS) $(CPPFLAGS) $(BASE_CFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/libkrait.so.$(VERSION): $(OBJECTS) lib/krait.map
	$(call say,LD $@)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=lib/krait.map -Wl,-z,defs,-z,now $(BASE_CFLAGS) $(CFLAGS) $(LDFLAGS) \
	    $(OBJECTS) $(LIBS) -o $@

$(BUILD)/libkrait.so: $(BUILD)/libkrait.so.$(VERSION)
	$(Q)ln -sf $(<F) $(BUILD)/$(SONAME) && ln -sf $(SONAME) $@

$(BUILD)/libkrait.a: $(OBJECTS)
	$(call say,AR $@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(OBJECTS)

$(BUILD)/krait.pc: pkgconfig/krait.pc.in Makefile include/krait/version.h
	$(Q)mkdir -p $(@D) && sed 's|@VERSION@|$(VERSION)|; s|@UP@|$(PC_UP)|; s|@LIB@|$(PC_LIB)|; s|@INCLUDE@|$(PC_INCLUDE)|' $< > $@

# The .pc file finds its prefix from where it lies, so that an installed tree can be moved.
PC_LIB := $(patsubst $(PREFIX)/%,%,$(LIBDIR))
PC_INCLUDE := $(patsubst $(PREFIX)/%,%,$(INCLUDEDIR))
PC_UP := $(shell echo '$(PC_LIB)/pkgconfig' | sed 's|[^/][^/]*|..|g')

$(BUILD)/krait: $(wildcard bridge/cli/*.c) $(BUILD)/libkrait.so
	$(call say,CC $@)
	$(Q)$(CC) $(BASE_CPPFLAGS) $(CPPFLAGS) $(BASE_CFLAGS) $(CFLAGS) $(wildcard bridge/cli/*.c) -o $@ \
	    -L$(BUILD) -lkrait -Wl,-rpath,'$$ORIGIN' -Wl,-rpath,'$$ORIGIN/../lib' -Wl,-rpath,'$(LIBDIR)' $(LDFLAGS) $(LIBS)

-include $(OBJECTS:.o=.d) $(SAN_OBJECTS:.o=.d)

install: all
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR)/krait $(DESTDIR)$(BINDIR)
	install -m 755 $(BUILD)/libkrait.so.$(VERSION) $(DESTDIR)$(LIBDIR)/
	ln -sf libkrait.so.$(VERSION) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libkrait.so
	install -m 644 $(BUILD)/libkrait.a $(DESTDIR)$(LIBDIR)/
	install -m 644 $(BUILD)/krait.pc $(DESTDIR)$(LIBDIR)/pkgconfig/
	install -m 644 include/krait.h $(DESTDIR)$(INCLUDEDIR)/
	install -m 644 include/krait/*.h $(DESTDIR)$(INCLUDEDIR)/krait/
	install -m 755 $(BUILD)/krait $(DESTDIR)$(BINDIR)/
	install -d $(DESTDIR)$(MANDIR)/man1
	install -m 644 docs/krait.1 $(DESTDIR)$(MANDIR)/man1/

uninstall:
	rm -rf $(DESTDIR)$(INCLUDEDIR)/krait
	rm -f $(DESTDIR)$(INCLUDEDIR)/krait.h $(DESTDIR)$(LIBDIR)/libkrait.* $(DESTDIR)$(LIBDIR)/pkgconfig/krait.pc \
	    $(DESTDIR)$(BINDIR)/krait $(DESTDIR)$(MANDIR)/man1/krait.1

# ---- set-up -------------------------------------------------------------------------------------------------------------------------------
# What a fresh machine lacks: Python, numpy, pandas, cmocka ... See bridge/python/setup.sh.
setup:
	$(Q)[ '$(SETUP)' = 0 ] || bash bridge/python/setup.sh run
setup-test:
	$(Q)[ '$(SETUP)' = 0 ] || bash bridge/python/setup.sh test
setup-bench:
	$(Q)[ '$(SETUP)' = 0 ] || bash bridge/python/setup.sh bench
setup-fuzz:
	$(Q)[ '$(SETUP)' = 0 ] || bash bridge/python/setup.sh fuzz
.PHONY: setup-test setup-bench setup-fuzz

# The Python that tests and demo use: KRAIT_PYTHON, else .venv, else whatever krait finds.
VENV := $(CURDIR)/.venv
USE_PYTHON = export KRAIT_PYTHON="$${KRAIT_PYTHON:-$$([ ! -d '$(VENV)' ] || echo '$(VENV)')}"; [ "$$KRAIT_PYTHON" ] || unset KRAIT_PYTHON
VENV_PYTHON = $$([ -x '$(VENV)/bin/python3' ] && echo '$(VENV)/bin/python3' || command -v python3)
GO = $$(command -v go || { [ -x '$(VENV)/bin/go' ] && echo '$(VENV)/bin/go'; } || true)

# ---- examples and demo --------------------------------------------------------------------------------------------------------------------
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/examples/%,$(filter-out examples/demo_%.c,$(wildcard examples/*.c)))
APP_LIBS = -L$(BUILD) -lkrait -Wl,-rpath,'$(abspath $(BUILD))' $(LIBS)

$(BUILD)/examples/demo: $(wildcard examples/demo_*.c) $(wildcard examples/demo*.h)
# It finds krait by dlopen alone.
$(BUILD)/examples/plugin_host: APP_LIBS = $(LIBS)
$(BUILD)/examples/%: examples/%.c $(BUILD)/libkrait.so
	$(call say,CC $@)
	$(Q)mkdir -p $(@D) && $(CC) -std=c11 -D_GNU_SOURCE -Iinclude $(CPPFLAGS) -O2 -g $(WARN) $(CFLAGS) $(filter %.c,$^) -o $@ $(LDFLAGS) $(APP_LIBS)

$(BUILD)/examples/go_normalize: $(wildcard examples/go/*) $(BUILD)/libkrait.so
	$(call say,GO $@)
	$(Q)go="$(GO)"; if [ "$$go" ]; then cd examples/go && CC='$(CC)' CGO_ENABLED=1 GOFLAGS=-mod=mod GOTOOLCHAIN=local \
	    GOCACHE="$${GOCACHE:-$(abspath $(BUILD))/go-cache}" CGO_CFLAGS='-I$(CURDIR)/include' \
	    CGO_LDFLAGS='-L$(abspath $(BUILD)) -lkrait -Wl,-rpath,$(abspath $(BUILD))' "$$go" build -buildvcs=false -o '$(abspath $@)' .; \
	else echo '  no Go on this machine: its example is left out'; fi

examples: $(EXAMPLES) $(BUILD)/examples/go_normalize
.PHONY: examples

demo: setup
	$(Q)$(MAKE) --no-print-directory all $(BUILD)/examples/demo
	$(Q)$(USE_PYTHON); $(BUILD)/examples/demo $(BUILD)/demo.png

# ---- tests --------------------------------------------------------------------------------------------------------------------------------
UNIT := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/*.c))
ABI := $(patsubst tests/abi/%.c,%,$(wildcard tests/abi/*.c))
INTEGRATION := $(filter-out test_faults,$(patsubst tests/integration/%.c,%,$(wildcard tests/integration/test_*.c)))
TSAN_UNITS := $(filter test_janitor% test_value% test_layer0%,$(UNIT))

$(SAN)/%.o: lib/%.c
	$(call say,CC $< (sanitized))
	$(Q)mkdir -p $(@D) && $(CC) $(BASE_CPPFLAGS) -DKRAIT_FAULTS $(CPPFLAGS) $(BASE_CFLAGS) -O1 $(SANITIZE) $(CFLAGS) -MMD -MP -c $< -o $@
$(SAN)/sources.o: $(BUILD)/sources.c
	$(Q)mkdir -p $(@D) && $(CC) $(BASE_CPPFLAGS) $(CPPFLAGS) $(BASE_CFLAGS) $(CFLAGS) -c $< -o $@
$(SAN)/libkrait.a: $(SAN_OBJECTS)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

TEST_HEADERS := $(wildcard tests/*.h tests/*/*.h)
# Without root, set-up unpacks cmocka into .venv.
CMOCKA := $(wildcard $(VENV)/cmocka/usr)
CMOCKA_LIB := $(firstword $(dir $(wildcard $(CMOCKA)/lib/*/libcmocka.so)))
# Python sources in tests are long string literals.
TEST_CC = $(CC) $(BASE_CPPFLAGS) -Itests $(if $(CMOCKA),-isystem $(CMOCKA)/include) $(CPPFLAGS) $(BASE_CFLAGS) -Wno-overlength-strings $(CFLAGS)
LIBCMOCKA = $(if $(CMOCKA_LIB),-L$(CMOCKA_LIB) -Wl$(comma)-rpath$(comma)$(CMOCKA_LIB)) -lcmocka
comma := ,
$(BUILD)/unit/%: tests/unit/%.c $(SAN)/libkrait.a $(TEST_HEADERS)
	$(call say,CC $@)
	$(Q)mkdir -p $(@D) && $(TEST_CC) -O1 -DKRAIT_FAULTS $(SANITIZE) $< -o $@ $(SAN)/libkrait.a $(LDFLAGS) $(LIBCMOCKA) $(LIBS)
$(BUILD)/unit/%: tests/abi/%.c $(SAN)/libkrait.a
	$(Q)mkdir -p $(@D) && $(TEST_CC) -O1 $(SANITIZE) $< -o $@ $(SAN)/libkrait.a $(LDFLAGS) $(LIBCMOCKA) $(LIBS)
$(BUILD)/tsan/%: tests/unit/%.c $(SOURCES) $(BUILD)/sources.c
	$(call say,CC $@)
	$(Q)mkdir -p $(@D) && $(TEST_CC) -O1 -DKRAIT_FAULTS -fsanitize=thread $< $(SOURCES) $(BUILD)/sources.c -o $@ $(LDFLAGS) $(LIBCMOCKA) $(LIBS)
$(BUILD)/integration/%: tests/integration/%.c $(BUILD)/libkrait.so $(TEST_HEADERS)
	$(call say,CC $@)
	$(Q)mkdir -p $(@D) && $(TEST_CC) $< -o $@ $(LDFLAGS) $(LIBCMOCKA) $(APP_LIBS)
$(BUILD)/asan/%: tests/integration/%.c $(SAN)/libkrait.a $(TEST_HEADERS)
	$(call say,CC $@)
	$(Q)mkdir -p $(@D) && $(TEST_CC) -O1 -DKRAIT_FAULTS $(SANITIZE) $< -o $@ $(SAN)/libkrait.a $(LDFLAGS) $(LIBCMOCKA) $(LIBS)

UNIT_BINS := $(UNIT:%=$(BUILD)/unit/%) $(ABI:%=$(BUILD)/unit/%)
TSAN_BINS := $(TSAN_UNITS:%=$(BUILD)/tsan/%)
INTEGRATION_BINS := $(INTEGRATION:%=$(BUILD)/integration/%)
ASAN_BINS := $(INTEGRATION:%=$(BUILD)/asan/%) $(BUILD)/asan/test_faults
SCRIPTS := $(wildcard tests/integration/test_*.sh) tests/tools/test_setup.sh
tests: all examples $(UNIT_BINS) $(TSAN_BINS) $(INTEGRATION_BINS) $(ASAN_BINS)
.PHONY: tests

# Sanitizers: Python's own allocator hides what is lost, so it is turned off; cmocka must not swallow a fault.
ASAN_ENV = env PYTHONMALLOC=malloc ASAN_OPTIONS=handle_segv=2:handle_abort=2:detect_leaks=1:allocator_may_return_null=1:intercept_tls_get_addr=0 \
    LSAN_OPTIONS=suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0 UBSAN_OPTIONS=print_stacktrace=1 OPENBLAS_NUM_THREADS=1 KRAIT_TEST_CALLS=20000
RUN = tests/tools/run.sh

test: setup-test
	$(Q)$(MAKE) --no-print-directory check

# With what is there: no network, nothing written outside build/.
check: tests
	$(Q)$(USE_PYTHON); export TALLY='$(abspath $(BUILD))/tally' BUILD='$(BUILD)' CC='$(CC)' PYTHONDONTWRITEBYTECODE=1 TMPDIR='$(abspath $(BUILD))/tmp'; \
	mkdir -p $$TMPDIR; : > $$TALLY; \
	$(RUN) -l rules tests/tools/rules.sh; \
	$(ASAN_ENV) $(RUN) -l unit $(UNIT_BINS); \
	$(if $(TSAN_BINS),TSAN_OPTIONS=halt_on_error=1 $(RUN) -l tsan $(TSAN_BINS);) \
	$(RUN) -l integration $(INTEGRATION_BINS); \
	$(ASAN_ENV) $(RUN) -l sanitized $(ASAN_BINS); \
	$(if $(SCRIPTS),$(RUN) -l scripts $(SCRIPTS);) \
	$(RUN) -l python "$(VENV_PYTHON) -m pytest -q -p no:cacheprovider tests/python"; \
	tests/tools/sum.sh $$TALLY

test-pythons: setup-test
	$(Q)$(MAKE) --no-print-directory tests && tests/tools/test-pythons.sh

lint:
	$(Q)$(VENV_PYTHON) -m ruff check --no-cache --config bridge/python/pyproject.toml bridge/python tests examples && { ! command -v shellcheck >/dev/null || \
	    shellcheck $$(find . -name '*.sh' -not -path './.venv/*' -not -path './$(BUILD)/*') .ci/run; }

# Coverage-guided fuzzing of what reads foreign data, with clang's libFuzzer; no Python is started. FUZZ_SECONDS is for all targets together.
# Inputs that it comes by stay in build/fuzz; the seeds in tests/fuzz/corpus are kept small by hand.
FUZZ := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_CC = clang $(BASE_CPPFLAGS) -Itests -DKRAIT_FAULTS $(CPPFLAGS) -std=c11 -g -O1 -pthread $(WARN) $(SANITIZE)
$(BUILD)/fuzz/lib/%.o: lib/%.c
	$(call say,CC $< (fuzz))
	$(Q)mkdir -p $(@D) && $(FUZZ_CC) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@
$(BUILD)/fuzz/lib/sources.o: $(BUILD)/sources.c
	$(Q)mkdir -p $(@D) && $(FUZZ_CC) -c $< -o $@
$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(SOURCES:lib/%.c=$(BUILD)/fuzz/lib/%.o) $(BUILD)/fuzz/lib/sources.o
	$(call say,CC $@)
	$(Q)$(FUZZ_CC) -fsanitize=fuzzer $^ -o $@ $(LIBS)
.SECONDARY: $(SOURCES:lib/%.c=$(BUILD)/fuzz/lib/%.o)
-include $(SOURCES:lib/%.c=$(BUILD)/fuzz/lib/%.d)

fuzz: setup-fuzz
	$(Q)$(MAKE) --no-print-directory $(FUZZ:%=$(BUILD)/fuzz/fuzz_%)
	$(Q)for name in $(FUZZ); do BUILD='$(BUILD)' tests/tools/fuzz.sh $$name $$(($(FUZZ_SECONDS) / $(words $(FUZZ)))) || exit 1; done

bench: setup-bench
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(USE_PYTHON); BUILD='$(BUILD)' CC='$(CC)' $(VENV_PYTHON) tests/bench/run.py

clean:
	rm -rf $(BUILD)

help:
	@echo 'make               libkrait.so, libkrait.a and the krait command into build/'
	@echo 'make demo          set up what is missing, then real data through pandas from C'
	@echo 'make test          set up what is missing, then all tests'
	@echo 'make check         the tests with what is there: no network, nothing written outside build/'
	@echo 'make test-pythons  the integration tests on every Python of this machine'
	@echo 'make bench         medians and ratios against hand-written C and pybind11; build/bench.json'
	@echo 'make fuzz          coverage-guided fuzzing with clang; FUZZ_SECONDS ($(FUZZ_SECONDS))'
	@echo 'make install       DESTDIR, PREFIX ($(PREFIX)), LIBDIR'
	@echo 'make setup         .venv and system packages; SETUP=0 skips it'
	@echo 'make lint          ruff and shellcheck'
	@echo 'CC, CPPFLAGS, CFLAGS, LDFLAGS are added to; V=1 shows commands; BUILD is the output folder'
