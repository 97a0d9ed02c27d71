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
.PHONY: all install uninstall setup demo test check bench test-pythons lint help clean
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

uninstall:
	rm -rf $(DESTDIR)$(INCLUDEDIR)/krait
	rm -f $(DESTDIR)$(INCLUDEDIR)/krait.h $(DESTDIR)$(LIBDIR)/libkrait.* $(DESTDIR)$(LIBDIR)/pkgconfig/krait.pc $(DESTDIR)$(BINDIR)/krait
