/* How a Python is found: one struct search is filled from top to bottom, by these parts.
 *
 *   choose      which rule decides, and what it names
 *   enter       what that is: a folder, a libpython or an executable
 *   read_venv   pyvenv.cfg beside the executable, as Python itself would look for it
 *   find_base   the version by names, the prefix by its landmark lib/python3.Y/os.py
 *   probe       only where names and landmarks do not tell: ask a child
 *   find_library  libpython3.Y.so*, looked at as ELF before anything opens it
 *
 * Where CPython has a rule of its own (getpath.py) it is kept, since the Python started later will follow it.
 * Refused: what would need a guess. Paths live in fixed buffers of PATH_MAX bytes, all but two of them in the one block
 * that holds the search: no path can be longer, and there is one allocation to fail instead of fifty. */
#include "locate.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __APPLE__
#include <crt_externs.h>
#include <mach-o/dyld.h>
#else
#include <link.h>
#endif

#include "mem.h"
#include "os.h"

enum {
    CONFIG_MAX = 64 * 1024, /* bytes of a pyvenv.cfg that are read; a real one has 200 */
    HEADERS_MAX = 256,      /* program headers of a library; a real one has 12 */
    DYNAMIC_MAX = 1024,     /* entries of a dynamic section; a real one has 30 */
    NEWEST_TRIED = 40,      /* python3.40 is the newest name looked for on PATH to suggest it */
    WHY_MAX = 256           /* bytes of the reason why a library was refused */
};

/* major 0 and minor -1: unknown. */
struct version {
    int  major, minor;
    bool threaded, debug; /* built without the GIL ("3.13t"), with debugging ("3.11d") */
};

static const struct version unknown = { 0, -1, false, false };

struct search {
    const char    *rule;
    krait__text   *steps; /* NULL: nobody reads them */
    krait_error  **err;
    struct version version;  /* of the Python */
    struct version made_for; /* what pyvenv.cfg tells */
    bool           probed;
    char           given[PATH_MAX];
    char           executable[PATH_MAX]; /* absolute, links not resolved */
    char           real[PATH_MAX];       /* links resolved */
    char           venv[PATH_MAX];       /* "": none */
    char           home[PATH_MAX];       /* pyvenv.cfg's; "": none */
    char           base[PATH_MAX];
    char           stdlib[PATH_MAX];
    char           library[PATH_MAX];
    char           refused[PATH_MAX + WHY_MAX]; /* the first library that was there but unfit, and why */
};

static const char rule_option[] = "krait_options.python";
static const char rule_venv[] = "VIRTUAL_ENV";
static const char rule_path[] = "python3 on PATH";

#define NOTE(s, ...)                                                                                                   \
    do {                                                                                                               \
        if ((s)->steps) krait__text_addf((s)->steps, __VA_ARGS__);                                                     \
    } while (0)

/* Every message begins with the rule that chose and what it said. */
#define FAIL(s, status, format, ...)                                                                                   \
    krait__fail((s)->err, status, "%s is %s: " format, (s)->rule, (s)->given, __VA_ARGS__)
#define BROKEN(s, format, ...)                                                                                         \
    FAIL(s, KRAIT_E_NO_PYTHON, format "; make the venv anew: python3 -m venv --clear %s", __VA_ARGS__, (s)->venv)

/* The file in a message: what the rule said stands there already. */
static const char *named(const struct search *s) {
    return strcmp(s->executable, s->given) ? s->executable : "it";
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

/* What does not fit becomes "", which names no file: then it is not found, and needs no check of its own. */
static bool join(char out[PATH_MAX], const char *format, ...) KRAIT_PRINTF(2, 3);
static bool join(char out[PATH_MAX], const char *format, ...) {
    va_list args;
    int     length;
    va_start(args, format);
    length = vsnprintf(out, PATH_MAX, format, args);
    va_end(args);
    if (length >= 0 && length < PATH_MAX) return true;
    out[0] = 0;
    errno = ENAMETOOLONG;
    return false;
}

static bool is_file(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode);
}

static bool is_folder(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static bool is_program(const char *path) {
    return is_file(path) && !access(path, X_OK);
}

/* Also true for a link to nothing. */
static bool is_there(const char *path) {
    struct stat st;
    return !lstat(path, &st);
}

static bool holds(const char *folder, const char *name) {
    char file[PATH_MAX];
    return join(file, "%s/%s", folder, name) && is_file(file);
}

static const char *last_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "/a/b" becomes "/a", "/a" becomes "/", and "/" becomes "". */
static void go_up(char *path) {
    char *slash = strrchr(path, '/');
    if (!slash || !path[1]) path[0] = 0;
    else slash[slash == path] = 0;
}

static bool absolute(const char *path, char out[PATH_MAX]) {
    char here[PATH_MAX];
    while (!strncmp(path, "./", 2)) path += 2;
    if (path[0] == '/') {
        if (!join(out, "%s", path)) return false;
    } else if (!getcwd(here, sizeof here) || !join(out, "%s/%s", here, path)) {
        return false;
    }
    for (size_t n = strlen(out); n > 1 && out[n - 1] == '/'; n--) out[n - 1] = 0;
    return true;
}

/* The folder of the running program, for "$ORIGIN". */
static bool program_folder(char out[PATH_MAX]) {
#ifdef __APPLE__
    uint32_t size = PATH_MAX;
    if (_NSGetExecutablePath(out, &size)) return false;
#else
    ssize_t length = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (length <= 0) return false;
    out[length] = 0;
#endif
    go_up(out);
    return true;
}

static bool expand_origin(const char *text, char out[PATH_MAX]) {
    static const char origin[] = "$ORIGIN";
    const char       *rest = text + sizeof origin - 1;
    char              folder[PATH_MAX];
    if (strncmp(text, origin, sizeof origin - 1) || (*rest && *rest != '/')) return join(out, "%s", text);
    return program_folder(folder) && join(out, "%s%s", folder, rest);
}

/* Reads the start of a file; -1 and errno when that fails. */
static ssize_t read_start(const char *path, char *buffer, size_t room) {
    size_t  size = 0;
    ssize_t n = 0;
    int     fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -1;
    while (size < room && ((n = read(fd, buffer + size, room - size)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0) size += (size_t)n;
    close(fd);
    return n < 0 ? -1 : (ssize_t)size;
}

/* A program in machine code. A script may start any Python, so its place tells nothing. */
static bool is_binary(const char *path) {
    char head[4];
    if (read_start(path, head, sizeof head) != sizeof head) return false;
#ifdef __APPLE__
    return !memcmp(head, "\xcf\xfa\xed\xfe", 4) || !memcmp(head, "\xca\xfe\xba\xbe", 4);
#else
    return !memcmp(head, ELFMAG, SELFMAG);
#endif
}

/* ---- versions in names ------------------------------------------------------------------------------------------- */

/* Returns what follows the number, NULL without one. */
static const char *read_number(const char *text, int *number) {
    const char *start = text;
    *number = 0;
    for (; *text >= '0' && *text <= '9' && text - start < 4; text++) *number = *number * 10 + (*text - '0');
    return text == start ? NULL : text;
}

/* "3.13" and what follows it; NULL when text does not begin so. */
static const char *read_version(const char *text, struct version *version) {
    const char *rest = read_number(text, &version->major);
    return rest && *rest == '.' ? read_number(rest + 1, &version->minor) : NULL;
}

/* "python", "python3", "python3.13", "python3.13td", "python3.11-dbg": returns what follows, NULL for other names. */
static const char *read_python(const char *name, struct version *version) {
    const char *rest;
    *version = unknown;
    if (strncmp(name, "python", 6)) return NULL;
    rest = read_version(name + 6, version);
    if (!rest) {
        version->minor = -1;
        rest = read_number(name + 6, &version->major);
        return rest ? rest : name + 6;
    }
    version->threaded = *rest == 't';
    rest += version->threaded;
    version->debug = *rest == 'd' || !strncmp(rest, "-dbg", 4);
    return rest + (*rest == 'd' ? 1 : version->debug ? 4 : 0);
}

static bool is_python_name(const char *name, struct version *version) {
    const char *rest = read_python(name, version);
    return rest && !*rest;
}

/* "libpython3.13.so.1.0" */
static bool read_library_name(const char *name, struct version *version) {
    return !strncmp(name, "lib", 3) && read_python(name + 3, version) && version->minor >= 0;
}

static bool is_library_name(const char *name) {
    size_t      length = strlen(name);
    const char *so = strstr(name, ".so");
#ifdef __APPLE__
    if (!strcmp(name, "Python")) return true; /* Python.framework/Versions/3.Y/Python */
#endif
    return !strncmp(name, "libpython", 9) || (so && (!so[3] || so[3] == '.')) ||
           (length > 6 && !strcmp(name + length - 6, ".dylib"));
}

/* ---- a library looked at as ELF ---------------------------------------------------------------------------------- */

#ifndef __APPLE__
struct elf {
    int      fd;
    uint64_t size;
    ElfW(Ehdr) head;
    ElfW(Phdr) dynamic;
};

static bool read_at(const struct elf *elf, uint64_t offset, void *buffer, size_t size) {
    ssize_t n;
    if (offset > elf->size || size > elf->size - offset) return false;
    do n = pread(elf->fd, buffer, size, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n >= 0 && (size_t)n == size;
}

static bool read_header(const struct elf *elf, unsigned index, ElfW(Phdr) * header) {
    return read_at(elf, elf->head.e_phoff + (uint64_t)index * sizeof *header, header, sizeof *header);
}

/* The header of the file that holds this code: its class, byte order and processor are what libpython must have too. */
static bool own_header(ElfW(Ehdr) * own) {
    static const char here = 0;
    Dl_info           info;
    if (!dladdr(&here, &info) || !info.dli_fbase) return false;
    memcpy(own, info.dli_fbase, sizeof *own);
    return !memcmp(own->e_ident, ELFMAG, SELFMAG);
}

static void describe_machine(const ElfW(Ehdr) * head, char *out, size_t size) {
    static const struct {
        unsigned    machine;
        const char *name;
    } machines[] = { { EM_386, "x86" },     { EM_X86_64, "x86-64" }, { EM_ARM, "ARM" },     { EM_AARCH64, "AArch64" },
                     { EM_PPC64, "POWER" }, { EM_S390, "S/390" },    { EM_RISCV, "RISC-V" } };
    const char *bits = head->e_ident[EI_CLASS] == ELFCLASS64 ? "64 bits" : "32 bits";
    const char *order = head->e_ident[EI_DATA] == ELFDATA2MSB ? ", big-endian" : "";
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
        if (machines[i].machine == head->e_machine) {
            snprintf(out, size, "%s, %s%s", machines[i].name, bits, order);
            return;
        }
    snprintf(out, size, "ELF machine %u, %s%s", (unsigned)head->e_machine, bits, order);
}

/* The first bytes tell whether the rest may be read as this machine's structs. */
static bool check_head(struct elf *elf, char *why) {
    ElfW(Ehdr) own;
    char   theirs[64], ours[64];
    size_t size = elf->size < sizeof elf->head ? (size_t)elf->size : sizeof elf->head;
    if (!read_at(elf, 0, &elf->head, size) || size < SELFMAG || memcmp(elf->head.e_ident, ELFMAG, SELFMAG)) {
        snprintf(why, WHY_MAX, "is no ELF file (%s)", elf->size ? "a linker script?" : "it is empty");
        return false;
    }
    if (size < sizeof elf->head) {
        snprintf(why, WHY_MAX, "is cut off: it has %llu bytes", (unsigned long long)elf->size);
        return false;
    }
    if (own_header(&own) &&
        (memcmp(own.e_ident, elf->head.e_ident, EI_DATA + 1) || own.e_machine != elf->head.e_machine)) {
        describe_machine(&elf->head, theirs, sizeof theirs);
        describe_machine(&own, ours, sizeof ours);
        snprintf(why, WHY_MAX, "is built for another machine (%s) than this program (%s)", theirs, ours);
        return false;
    }
    return true;
}

/* Each part that will be mapped must be there: a file cut off by a full disk is loaded and then dies with SIGBUS. */
static bool check_headers(struct elf *elf, char *why) {
    ElfW(Phdr) header;
    if (elf->head.e_type != ET_DYN || elf->head.e_phentsize != sizeof header || elf->head.e_phnum > HEADERS_MAX) {
        snprintf(why, WHY_MAX, "is no shared library");
        return false;
    }
    for (unsigned i = 0; i < elf->head.e_phnum; i++) {
        if (!read_header(elf, i, &header) || header.p_offset > elf->size ||
            header.p_filesz > elf->size - header.p_offset) {
            snprintf(why, WHY_MAX, "is cut off: it has %llu bytes, its headers tell of more",
                     (unsigned long long)elf->size);
            return false;
        }
        if (header.p_type == PT_DYNAMIC) elf->dynamic = header;
    }
    if (!elf->dynamic.p_filesz) snprintf(why, WHY_MAX, "is no shared library");
    return elf->dynamic.p_filesz != 0;
}

/* Where in the file the byte is that will have this address; the file's size when nowhere. */
static uint64_t offset_of(const struct elf *elf, uint64_t address) {
    ElfW(Phdr) header;
    for (unsigned i = 0; i < elf->head.e_phnum; i++)
        if (read_header(elf, i, &header) && header.p_type == PT_LOAD && address >= header.p_vaddr &&
            address - header.p_vaddr < header.p_filesz)
            return header.p_offset + (address - header.p_vaddr);
    return elf->size;
}

/* The name the library calls itself, "" without one: a link or copy under another name does not deceive. */
static void read_soname(const struct elf *elf, char *out, size_t room) {
    uint64_t strings = 0, name = 0, start;
    ElfW(Dyn) entry;
    size_t size;
    bool   has_name = false;
    out[0] = 0;
    for (uint64_t i = 0; i < elf->dynamic.p_filesz / sizeof entry && i < DYNAMIC_MAX; i++) {
        if (!read_at(elf, elf->dynamic.p_offset + i * sizeof entry, &entry, sizeof entry) || entry.d_tag == DT_NULL)
            break;
        if (entry.d_tag == DT_STRTAB) strings = entry.d_un.d_ptr;
        if (entry.d_tag == DT_SONAME) {
            name = entry.d_un.d_val;
            has_name = true;
        }
    }
    start = has_name ? offset_of(elf, strings) : elf->size;
    if (name >= elf->size - start) return;
    size = elf->size - start - name < room - 1 ? (size_t)(elf->size - start - name) : room - 1;
    out[read_at(elf, start + name, out, size) ? size : 0] = 0;
}

/* Whether dlopen could take this file; `inside` is the version that it says it has. */
static bool check_library(const char *path, struct version *inside, char *why) {
    struct elf  elf = { .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) };
    struct stat st;
    char        soname[128];
    bool        good;
    *inside = unknown;
    if (elf.fd < 0 || fstat(elf.fd, &st)) {
        snprintf(why, WHY_MAX, "cannot be read: %s", strerror(errno));
        if (elf.fd >= 0) close(elf.fd);
        return false;
    }
    elf.size = st.st_size > 0 ? (uint64_t)st.st_size : 0;
    good = check_head(&elf, why) && check_headers(&elf, why);
    if (good) read_soname(&elf, soname, sizeof soname);
    close(elf.fd);
    if (good && !read_library_name(soname, inside)) *inside = unknown;
    return good;
}
#else
/* Mach-O is left to dlopen; the version is that of the file's name. */
static bool check_library(const char *path, struct version *inside, char *why) {
    (void)path, (void)why;
    *inside = unknown;
    return true;
}
#endif

/* ---- a child ----------------------------------------------------------------------------------------------------- */

/* Printed by the child when its source ran to the end. A host that ignores SIGCHLD, or reaps every child itself, takes
 * the exit code away, so it cannot be what tells success. */
static const char end_mark[] = "\x1ekrait-end\x1e";
static const char end_source[] = "\nprint('\\x1ekrait-end\\x1e', end='', flush=True)\n";

struct child {
    pid_t   pid;
    int     fd;       /* read end of its stdout and stderr */
    int64_t deadline; /* ns */
};

static int move_up(int fd) {
    int moved;
    if (fd < 0 || fd > STDERR_FILENO) return fd;
    moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
    return moved;
}

/* A pipe with both ends above the standard streams, which may be closed in the host: the child's are put there. */
static bool make_pipe(int ends[2]) {
#ifdef __APPLE__
    if (pipe(ends)) return false;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
#else
    if (pipe2(ends, O_CLOEXEC)) return false;
#endif
    ends[0] = move_up(ends[0]);
    ends[1] = move_up(ends[1]);
    if (ends[0] >= 0 && ends[1] >= 0) return true;
    if (ends[0] >= 0) close(ends[0]);
    if (ends[1] >= 0) close(ends[1]);
    return false;
}

static char **environment(void) {
#ifdef __APPLE__
    return *_NSGetEnviron();
#else
    return environ;
#endif
}

/* No signal blocked, every disposition the default: what the host set up for itself is not the child's. */
static int plain_signals(posix_spawnattr_t *attributes) {
    sigset_t none, all;
    int      rc;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    rc = posix_spawnattr_setsigmask(attributes, &none);
    if (!rc) rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (!rc) rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return rc;
}

static int spawn(pid_t *pid, const char *const *argv, int output) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t          attributes;
    int                        rc = posix_spawn_file_actions_init(&actions);
    if (rc) return rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc) goto no_attributes;
    rc = plain_signals(&attributes);
    if (!rc) rc = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!rc) rc = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (!rc) rc = posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    if (!rc) rc = posix_spawn(pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv, environment());
    posix_spawnattr_destroy(&attributes);
no_attributes:
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* Cuts the end mark off; true when it was there. It is looked for from `from` on, or cut in two around it. */
static bool take_mark(krait__text *output, size_t start, size_t from) {
    const size_t length = sizeof end_mark - 1;
    const char  *mark;
    from = from - start < length ? start : from - length;
    mark = output->data ? memmem(output->data + from, output->size - from, end_mark, length) : NULL;
    if (!mark) return false;
    output->size = (size_t)(mark - output->data);
    output->data[output->size] = 0;
    return true;
}

static int left_ms(int64_t deadline) {
    int64_t left = deadline == INT64_MAX ? INT_MAX : (deadline - krait__os_now() + 999999) / 1000000;
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* Reads until the end mark, the end of the stream or the deadline. The mark alone ends it too: something the child left
 * behind may hold the pipe open for ever. True when the mark came. */
static bool collect(const struct child *child, krait__text *output) {
    const size_t start = output->size;
    size_t       from;
    char         buffer[4096];
    for (;;) {
        struct pollfd ready = { .fd = child->fd, .events = POLLIN };
        ssize_t       n;
        int           rc = poll(&ready, 1, left_ms(child->deadline));
        if (rc < 0 && errno == EINTR) continue;
        if (rc <= 0) return false;
        n = read(child->fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        if (output->size - start >= KRAIT__CHILD_OUTPUT_MAX) continue;
        from = output->size;
        krait__text_add(output, buffer, (size_t)n);
        if (take_mark(output, start, from)) return true;
    }
}

/* What became of the child. */
enum { ENDED, KILLED, TAKEN };

/* Waits on this pid only. It is killed only while it is surely still this child: one that the host reaped may be
 * another process by now. */
static int reap(const struct child *child, int *code) {
    pid_t pid;
    for (;;) {
        pid = waitpid(child->pid, code, WNOHANG);
        if (pid == child->pid) return ENDED;
        if (pid < 0 && errno != EINTR) return TAKEN;
        if (pid == 0 && !left_ms(child->deadline)) break;
        poll(NULL, 0, 1);
    }
    kill(child->pid, SIGKILL);
    do pid = waitpid(child->pid, code, 0);
    while (pid < 0 && errno == EINTR);
    return KILLED;
}

static int finish(const struct child *child, int64_t timeout_ms, krait__text *output) {
    bool marked = collect(child, output);
    int  code = 0;
    int  end = reap(child, &code);
    if (marked) return 0;
    if (end == ENDED) return WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code);
    if (end == KILLED) krait__text_addf(output, "\nended, since it took longer than %lld ms", (long long)timeout_ms);
    else krait__text_addf(output, "\nit failed; its exit code was taken by this process's handling of SIGCHLD");
    return -1;
}

static int run(const char *const *argv, int64_t timeout_ms, krait__text *output) {
    struct child child = { .deadline = INT64_MAX };
    int          ends[2], rc;
    if (timeout_ms >= 0 && timeout_ms < INT_MAX) child.deadline = krait__os_now() + timeout_ms * 1000000;
    if (!make_pipe(ends)) {
        krait__text_addf(output, "cannot be started: %s", strerror(errno));
        return -1;
    }
    rc = spawn(&child.pid, argv, ends[1]);
    close(ends[1]);
    child.fd = ends[0];
    if (rc) {
        krait__text_addf(output, "cannot be started: %s", strerror(rc));
        rc = -1;
    } else {
        rc = finish(&child, timeout_ms, output);
    }
    close(child.fd);
    return rc;
}

static int run_source(const char *const *argv, const char *source, int64_t timeout_ms, krait__text *output) {
    const char *whole[6] = { 0 };
    krait__text text = { 0 };
    size_t      n = 0;
    int         rc = -1;
    for (; argv[n]; n++) whole[n] = argv[n];
    krait__text_addf(&text, "%s%s", source, end_source);
    whole[n] = text.data;
    if (text.failed) output->failed = true;
    else rc = run(whole, timeout_ms, output);
    krait__text_free(&text);
    return rc;
}

int krait__locate_run(const char *executable, const char *source, int64_t timeout_ms, krait__text *output) {
    const char *argv[] = { executable, "-I", "-c", NULL };
    return run_source(argv, source, timeout_ms, output);
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

/* NULL when unset or empty, and for a setuid program: its user must not choose what code it loads. */
static const char *variable(const char *name) {
#ifdef __APPLE__
    const char *value = issetugid() ? NULL : getenv(name);
#else
    const char *value = secure_getenv(name);
#endif
    return value && *value ? value : NULL;
}

static bool is_binary_program(const char *path) {
    return is_program(path) && is_binary(path);
}

/* What a shell would start under that name: the first executable file, an empty entry being the current folder. */
static bool on_path(const struct search *s, const char *name, bool (*fits)(const char *), char out[PATH_MAX]) {
    char        standard[256] = "/bin:/usr/bin";
    const char *list = variable("PATH");
    if (!list) {
        confstr(_CS_PATH, standard, sizeof standard);
        list = standard;
    }
    for (;; list++) {
        size_t length = strcspn(list, ":");
        if (length < PATH_MAX && join(out, "%.*s%s%s", (int)length, list, length ? "/" : "", name)) {
            if (fits(out)) return true;
            if (is_there(out)) NOTE(s, "%s: passed over\n", out);
        }
        list += length;
        if (!*list) return false;
    }
}

/* Adds the python3.Y of PATH that are new enough, the newest first. Shims are passed over: one stands there for each
 * version that pyenv knows, started or not. */
static bool add_newer(const struct search *s, krait__text *text) {
    char name[32], file[PATH_MAX];
    bool any = false;
    for (int minor = NEWEST_TRIED; minor >= KRAIT__PYTHON_MINOR_MIN; minor--) {
        snprintf(name, sizeof name, "python3.%d", minor);
        if (!on_path(s, name, is_binary_program, file)) continue;
        krait__text_addf(text, "%s%s", any ? ", or to " : "; set KRAIT_PYTHON to ", file);
        any = true;
    }
    return any;
}

static krait_status no_python3(const struct search *s) {
    krait__text  cure = { 0 };
    const char  *list = variable("PATH");
    krait_status status;
    if (!add_newer(s, &cure))
        krait__text_addf(
            &cure, "; install Python 3.%d or newer%s, or name one with KRAIT_PYTHON or krait_options.python",
            KRAIT__PYTHON_MINOR_MIN, is_folder("/var/lib/dpkg") ? " (apt-get install python3 libpython3-dev)" : "");
    if (cure.failed) status = krait__fail_nomem(s->err);
    else
        status = krait__fail(s->err, KRAIT_E_NO_PYTHON, "there is no python3 on PATH (%.2000s)%s",
                             list ? list : "not set", cure.data);
    krait__text_free(&cure);
    return status;
}

static krait_status choose_path(struct search *s) {
    char found[PATH_MAX];
    s->rule = rule_path;
    if (!on_path(s, "python3", is_program, found)) return no_python3(s);
    join(s->given, "%s", found);
    if (!absolute(found, s->executable)) return FAIL(s, KRAIT_E_NO_PYTHON, "%s", strerror(errno));
    return KRAIT_OK;
}

static krait_status choose_named(struct search *s, const char *rule, const char *text) {
    char found[PATH_MAX];
    s->rule = rule;
    if (!expand_origin(text, s->given) || !absolute(s->given, s->executable))
        return krait__fail(s->err, KRAIT_E_NO_PYTHON, "%s is %.200s: %s", rule, text, strerror(errno));
    if (rule == rule_venv || strchr(s->given, '/') || is_there(s->executable)) return KRAIT_OK;
    /* "python3.12" alone means what it means to a shell. */
    if (on_path(s, s->given, is_program, found)) absolute(found, s->executable);
    return KRAIT_OK;
}

static krait_status choose(struct search *s, const char *python) {
    const char *value;
    if (python && *python) return choose_named(s, rule_option, python);
    if ((value = variable("KRAIT_PYTHON"))) return choose_named(s, "KRAIT_PYTHON", value);
    if ((value = variable("VIRTUAL_ENV"))) return choose_named(s, rule_venv, value);
    return choose_path(s);
}

/* ---- pyvenv.cfg -------------------------------------------------------------------------------------------------- */

struct span {
    const char *at;
    size_t      size;
};

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span trim(const char *at, size_t size) {
    while (size && is_space(*at)) at++, size--;
    while (size && is_space(at[size - 1])) size--;
    return (struct span){ at, size };
}

static bool is_key(struct span key, const char *name) {
    return key.size == strlen(name) && !strncasecmp(key.at, name, key.size);
}

/* The first `home` counts, as in getpath.py. venv writes `version`, virtualenv and uv `version_info`. */
static void read_config_line(struct search *s, const char *line, size_t size) {
    const char *equals = memchr(line, '=', size);
    struct span key, value;
    char        number[16] = "";
    if (!equals) return;
    key = trim(line, (size_t)(equals - line));
    value = trim(equals + 1, size - (size_t)(equals - line) - 1);
    if (is_key(key, "home") && !s->home[0] && value.size < PATH_MAX) {
        memcpy(s->home, value.at, value.size);
        s->home[value.size] = 0;
    } else if (is_key(key, "version") || is_key(key, "version_info")) {
        memcpy(number, value.at, value.size < sizeof number - 1 ? value.size : sizeof number - 1);
        if (!read_version(number, &s->made_for)) s->made_for = unknown;
    }
}

static void read_config(struct search *s, const char *text, size_t size) {
    if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3, size -= 3; /* an editor's byte order mark */
    while (size) {
        const char *end = memchr(text, '\n', size);
        size_t      length = end ? (size_t)(end - text) : size;
        read_config_line(s, text, length);
        length += end != NULL;
        text += length;
        size -= length;
    }
}

/* pyvenv.cfg lies above the executable's folder, or in it; the executable as it was named, links not resolved. */
static bool find_venv(struct search *s) {
    char file[PATH_MAX];
    join(s->venv, "%s", s->executable);
    go_up(s->venv);
    go_up(s->venv);
    join(file, "%s/pyvenv.cfg", s->venv);
    if (s->venv[0] && is_file(file)) return true;
    join(s->venv, "%s", s->executable);
    go_up(s->venv);
    join(file, "%s/pyvenv.cfg", s->venv);
    if (is_file(file)) return true;
    s->venv[0] = 0;
    return false;
}

/* What tells that a folder was a venv: venv, virtualenv and uv all write both scripts. A conda keeps conda-meta. */
static krait_status check_remains(struct search *s) {
    char file[PATH_MAX], folder[PATH_MAX];
    join(folder, "%s", s->executable);
    go_up(folder);
    join(file, "%s/activate", folder);
    if (!is_file(file)) return KRAIT_OK;
    join(file, "%s/activate.fish", folder);
    if (!is_file(file)) return KRAIT_OK;
    go_up(folder);
    join(file, "%s/conda-meta", folder);
    if (is_folder(file)) return KRAIT_OK;
    join(s->venv, "%s", folder);
    return BROKEN(s, "the venv %s is half deleted, it has bin/activate but no pyvenv.cfg", s->venv);
}

static krait_status check_home(struct search *s) {
    if (!s->home[0] || is_folder(s->home)) return KRAIT_OK;
    return BROKEN(s, "the venv was made from the Python in %s, which is gone (home in %s/pyvenv.cfg)", s->home,
                  s->venv);
}

static krait_status read_venv(struct search *s) {
    char         file[PATH_MAX];
    char        *data;
    ssize_t      size;
    krait_status status = KRAIT_OK;
    s->home[0] = 0;
    s->made_for = unknown;
    if (!find_venv(s)) return check_remains(s);
    join(file, "%s/pyvenv.cfg", s->venv);
    data = krait__alloc(CONFIG_MAX);
    if (!data) return krait__fail_nomem(s->err);
    size = read_start(file, data, CONFIG_MAX);
    if (size < 0) status = FAIL(s, KRAIT_E_NO_PYTHON, "%s cannot be read: %s", file, strerror(errno));
    else read_config(s, data, (size_t)size);
    krait__free(data);
    if (status) return status;
    NOTE(s, "%s: home %s\n", file, s->home[0] ? s->home : "missing");
    return check_home(s);
}

/* ---- the base: version and prefix -------------------------------------------------------------------------------- */

/* A module stands as source, or compiled where sources were stripped. */
static bool holds_module(const char *folder, const char *name) {
    char compiled[64];
    snprintf(compiled, sizeof compiled, "%sc", name);
    return holds(folder, name) || holds(folder, compiled);
}

/* The folder of os.py, or the zip file that replaces it, of this version under `prefix`. Settles whether the version is
 * a free-threaded one: those keep their modules in lib/python3.13t. */
static bool find_stdlib(const char *prefix, struct version *version, char out[PATH_MAX]) {
    static const char *const libs[] = { "lib", "lib64" };
    for (int t = version->threaded; t < 2; t++)
        for (int i = 0; i < 2; i++) {
            bool found =
                join(out, "%s/%s/python%d.%d%s", prefix, libs[i], version->major, version->minor, t ? "t" : "") &&
                holds_module(out, "os.py");
            if (!found)
                found = join(out, "%s/%s/python%d%d%s.zip", prefix, libs[i], version->major, version->minor,
                             t ? "t" : "") &&
                        is_file(out);
            if (!found) continue;
            version->threaded = t;
            return true;
        }
    out[0] = 0;
    return false;
}

/* The one version that is installed under prefix, when there is only one (of that major version, unless it is 0). */
static bool only_version(const char *prefix, struct version *version) {
    static const char *const libs[] = { "lib", "lib64" };
    struct version           found = unknown, each;
    bool                     several = false;
    char                     folder[PATH_MAX];
    for (int i = 0; i < 2; i++) {
        DIR           *dir = join(folder, "%s/%s", prefix, libs[i]) ? opendir(folder) : NULL;
        struct dirent *entry;
        while (dir && (entry = readdir(dir))) {
            if (!is_python_name(entry->d_name, &each) || each.minor < 0) continue;
            if (version->major && each.major != version->major) continue;
            if (!join(folder, "%s/%s/%s", prefix, libs[i], entry->d_name) || !holds_module(folder, "os.py")) continue;
            several |= found.major &&
                       (found.major != each.major || found.minor != each.minor || found.threaded != each.threaded);
            found = each;
        }
        if (dir) closedir(dir);
    }
    if (!found.major || several) return false;
    *version = found;
    return true;
}

/* Goes from a folder of executables up to the root until the standard library is found, as getpath.py does. Without a
 * version only the folder right above can tell one. */
static bool search_up(struct search *s, const char *bin) {
    char prefix[PATH_MAX];
    join(prefix, "%s", bin);
    if (s->version.minor < 0) {
        go_up(prefix);
        if (!only_version(prefix, &s->version)) return false;
    }
    for (; prefix[0]; go_up(prefix))
        if (find_stdlib(prefix, &s->version, s->stdlib)) {
            join(s->base, "%s", prefix);
            NOTE(s, "%s: Python %d.%d\n", s->stdlib, s->version.major, s->version.minor);
            return true;
        }
    NOTE(s, "%s: no lib/python%d.%d/os.py from here up\n", bin, s->version.major, s->version.minor);
    return false;
}

/* Takes what the name of a python executable says; true when that is the whole version. */
static bool take_version(struct search *s, const char *executable) {
    struct version named;
    if (!is_python_name(last_name(executable), &named)) return false;
    if (named.minor >= 0 || !s->version.major) s->version = named;
    return named.minor >= 0;
}

/* The link bin/python ends at python3.Y nearly everywhere. Where it is a copy, the home has the names. */
static void version_from_names(struct search *s) {
    const char *const names[] = { last_name(s->executable), "python3", "python" };
    char              file[PATH_MAX], real[PATH_MAX];
    if (s->version.minor >= 0 || take_version(s, s->real)) return;
    for (size_t i = 0; s->home[0] && i < sizeof names / sizeof *names; i++)
        if (join(file, "%s/%s", s->home, names[i]) && realpath(file, real) && take_version(s, real)) return;
    if (s->made_for.minor >= 0) s->version = s->made_for;
}

static bool find_base(struct search *s) {
    struct version ignored;
    char           bin[PATH_MAX];
    version_from_names(s);
    if (s->home[0] && realpath(s->home, bin) && search_up(s, bin)) return true;
    if (!is_binary(s->real) || !is_python_name(last_name(s->real), &ignored)) return false;
    join(bin, "%s", s->real);
    go_up(bin);
    return search_up(s, bin);
}

/* ---- asking a child ---------------------------------------------------------------------------------------------- */

static const char probe_mark[] = "\x1ekrait-probe\x1e";
static const char probe_source[] =
    "import sys\n"
    "fields = [sys.executable, sys.base_prefix, getattr(sys, '_stdlib_dir', ''), sys.implementation.name,\n"
    "          'python%d.%d' % sys.version_info[:2] + getattr(sys, 'abiflags', '')]\n"
    "text = '\\x1ekrait-probe\\x1e' + ''.join((field or '') + '\\x1e' for field in fields)\n"
    "sys.stdout.buffer.write(text.encode(sys.getfilesystemencoding(), 'surrogateescape'))\n"
    "sys.stdout.flush()\n"
    "from posix import _exit as leave\n"
    "leave(0)\n"; /* taking the interpreter apart would take a quarter of the time */

/* The fields that probe_source prints, in its order. */
enum { PROBE_EXECUTABLE, PROBE_BASE, PROBE_STDLIB, PROBE_NAME, PROBE_VERSION, PROBE_FIELDS };

/* Cuts the output into its fields, in place. */
static bool read_probe(char *output, char *fields[PROBE_FIELDS]) {
    char *at = output ? strstr(output, probe_mark) : NULL;
    if (!at) return false;
    at += sizeof probe_mark - 1;
    for (int i = 0; i < PROBE_FIELDS; i++) {
        char *end = strchr(at, '\x1e');
        if (!end) return false;
        *end = 0;
        fields[i] = at;
        at = end + 1;
    }
    return true;
}

/* Goes on from sys.executable by looking at files, so that a shim to a venv is found as that venv; what files do not
 * tell is taken as the child said. */
static krait_status take_probe(struct search *s, char *fields[PROBE_FIELDS]) {
    krait_status status;
    if (strcmp(fields[PROBE_NAME], "cpython") != 0)
        return FAIL(s, KRAIT_E_NO_PYTHON, "this Python is %s, krait needs CPython", fields[PROBE_NAME]);
    if (!is_python_name(fields[PROBE_VERSION], &s->version) || !is_program(fields[PROBE_EXECUTABLE]))
        return FAIL(s, KRAIT_E_NO_PYTHON, "the Python it starts calls itself %s at '%s', which is no executable file",
                    fields[PROBE_VERSION], fields[PROBE_EXECUTABLE]);
    absolute(fields[PROBE_EXECUTABLE], s->executable);
    if (!realpath(s->executable, s->real)) join(s->real, "%s", s->executable);
    status = read_venv(s);
    if (status || find_base(s)) return status;
    join(s->base, "%s", fields[PROBE_BASE]);
    join(s->stdlib, "%s", fields[PROBE_STDLIB]);
    if (s->base[0] && s->stdlib[0]) return KRAIT_OK;
    return FAIL(s, KRAIT_E_NO_PYTHON, "no lib/python%d.%d/os.py was found above %s", s->version.major, s->version.minor,
                s->real);
}

static krait_status probe(struct search *s) {
    const char  *argv[] = { s->executable, "-I", "-S", "-c", NULL };
    krait__text  output = { 0 };
    char        *fields[PROBE_FIELDS];
    int          code;
    krait_status status;
    s->probed = true;
    code = run_source(argv, probe_source, KRAIT__PROBE_MS, &output);
    NOTE(s, "%s: its place does not tell which Python it is, so it was started (exit code %d)\n", s->executable, code);
    while (output.size && is_space(output.data[output.size - 1])) output.data[--output.size] = 0;
    if (output.failed) status = krait__fail_nomem(s->err);
    else if (code == 0 && read_probe(output.data, fields)) status = take_probe(s, fields);
    else
        status =
            FAIL(s, KRAIT_E_NO_PYTHON,
                 "started with -I -S -c ..., it did not answer as a Python does; exit code %d, it printed: %.2000s",
                 code, output.data ? output.data : "nothing");
    krait__text_free(&output);
    return status;
}

/* ---- from what was chosen to an interpreter ---------------------------------------------------------------------- */

static krait_status too_old(const struct search *s) {
    krait__text  cure = { 0 };
    krait_status status;
    if (s->rule != rule_path || !add_newer(s, &cure))
        krait__text_addf(&cure, "; install a newer one and name it with KRAIT_PYTHON");
    if (cure.failed) status = krait__fail_nomem(s->err);
    else
        status =
            FAIL(s, KRAIT_E_PYTHON_VERSION, "this is Python %d.%d (%s), krait needs 3.%d or newer%s", s->version.major,
                 s->version.minor, s->library[0] ? s->library : s->real, KRAIT__PYTHON_MINOR_MIN, cure.data);
    krait__text_free(&cure);
    return status;
}

static krait_status check_version(struct search *s) {
    if (s->venv[0] && s->made_for.minor >= 0 && s->made_for.minor != s->version.minor)
        return BROKEN(s, "the venv was made for Python %d.%d, but the one it is based on is %d.%d now",
                      s->made_for.major, s->made_for.minor, s->version.major, s->version.minor);
    if (s->version.major != 3 || s->version.minor < KRAIT__PYTHON_MINOR_MIN) return too_old(s);
    return KRAIT_OK;
}

static krait_status from_executable(struct search *s) {
    krait_status status;
    if (!is_file(s->executable)) return FAIL(s, KRAIT_E_NO_PYTHON, "%s is neither a file nor a folder", named(s));
    if (access(s->executable, X_OK)) return FAIL(s, KRAIT_E_NO_PYTHON, "%s is not executable", named(s));
    if (!realpath(s->executable, s->real)) return FAIL(s, KRAIT_E_NO_PYTHON, "%s: %s", named(s), strerror(errno));
    NOTE(s, "%s: the file %s\n", s->executable, s->real);
    status = read_venv(s);
    if (!status && !find_base(s)) status = probe(s);
    return status ? status : check_version(s);
}

/* The folder in which a venv would have to be made for `path` to be it or its python; false where none would help. */
static bool venv_of(const char *path, char out[PATH_MAX]) {
    struct version ignored;
    join(out, "%s", path);
    if (is_library_name(last_name(path))) return false;
    if (!is_python_name(last_name(path), &ignored)) return true;
    go_up(out);
    if (strcmp(last_name(out), "bin") != 0) return false;
    go_up(out);
    return true;
}

/* The executable's file is not there. Most often a venv lost the Python it was made from, or was deleted itself. */
static krait_status missing(struct search *s, int reason) {
    char venv[PATH_MAX];
    if (is_there(s->executable) && reason == ENOENT) {
        krait_status status = read_venv(s);
        if (!status && s->venv[0]) status = BROKEN(s, "%s is a link to a file that is gone", s->executable);
        return status ? status : FAIL(s, KRAIT_E_NO_PYTHON, "%s is a link to a file that is gone", named(s));
    }
    if (s->rule == rule_venv)
        return FAIL(s, KRAIT_E_NO_PYTHON, "%s; make the venv with python3 -m venv %s, or unset VIRTUAL_ENV",
                    strerror(reason), s->executable);
    if (reason == ENOENT && venv_of(s->executable, venv))
        return FAIL(s, KRAIT_E_NO_PYTHON,
                    "%s cannot be opened: %s; right would be a python executable, a libpython file or a venv: python3"
                    " -m venv %s",
                    named(s), strerror(reason), venv);
    return FAIL(s, KRAIT_E_NO_PYTHON,
                "%s cannot be opened: %s; right would be a python executable, a venv's folder or a libpython file",
                named(s), strerror(reason));
}

/* Puts the first of these that is there behind folder/bin/; false when none is. */
static bool pick_program(const char *folder, const char *const *names, char out[PATH_MAX]) {
    for (; *names; names++)
        if (join(out, "%s/bin/%s", folder, *names) && is_program(out)) return true;
    return false;
}

static krait_status from_venv(struct search *s) {
    static const char *const names[] = { "python", "python3", NULL };
    char                     folder[PATH_MAX];
    krait_status             status;
    join(folder, "%s", s->executable);
    if (pick_program(folder, names, s->executable)) return from_executable(s);
    join(s->executable, "%s/bin/python", folder);
    status = read_venv(s);
    return status ? status : BROKEN(s, "the venv's %s is missing, or a link to a file that is gone", s->executable);
}

/* `make altinstall` leaves only python3.Y: the newest of them. */
static bool newest_program(const char *prefix, char out[PATH_MAX]) {
    char           folder[PATH_MAX];
    struct version best = unknown, each;
    struct dirent *entry;
    DIR           *dir = join(folder, "%s/bin", prefix) ? opendir(folder) : NULL;
    while (dir && (entry = readdir(dir))) {
        if (!is_python_name(entry->d_name, &each) || each.major != 3 || each.minor <= best.minor) continue;
        if (!join(folder, "%s/bin/%s", prefix, entry->d_name) || !is_program(folder)) continue;
        join(out, "%s", folder);
        best = each;
    }
    if (dir) closedir(dir);
    return best.minor >= 0;
}

/* Only the libraries are installed, no interpreter (Debian's libpython3.Y without python3.Y): it needs none. */
static krait_status from_libraries(struct search *s, const char *prefix) {
    join(s->executable, "%s/bin/python%d.%d%s", prefix, s->version.major, s->version.minor,
         s->version.threaded ? "t" : "");
    join(s->real, "%s", s->executable);
    join(s->base, "%s", prefix);
    if (!find_stdlib(prefix, &s->version, s->stdlib))
        return FAIL(s, KRAIT_E_NO_PYTHON, "no lib/python%d.%d/os.py in %s", s->version.major, s->version.minor, prefix);
    NOTE(s, "%s: Python %d.%d, its executable was not looked at\n", s->stdlib, s->version.major, s->version.minor);
    return check_version(s);
}

static krait_status from_folder(struct search *s) {
    static const char *const names[] = { "python3", "python", NULL };
    char                     folder[PATH_MAX];
    krait_status             status;
    join(folder, "%s", s->executable);
    if (holds(folder, "pyvenv.cfg")) return from_venv(s);
    if (pick_program(folder, names, s->executable) || newest_program(folder, s->executable)) return from_executable(s);
    if (only_version(folder, &s->version)) return from_libraries(s, folder);
    join(s->executable, "%s/bin/python3", folder);
    status = check_remains(s);
    return status ? status
                  : FAIL(s, KRAIT_E_NO_PYTHON,
                         "the folder %s has neither pyvenv.cfg (a venv) nor bin/python3 (an installation)", folder);
}

static bool library_version(const char *path, struct version *version) {
#ifdef __APPLE__
    char folder[PATH_MAX]; /* Python.framework/Versions/3.13/Python */
    join(folder, "%s", path);
    go_up(folder);
    *version = unknown;
    if (!strcmp(last_name(path), "Python")) return read_version(last_name(folder), version) != NULL;
#endif
    return read_library_name(last_name(path), version);
}

/* Looks above a libpython for what belongs to it; `found` tells whether there was anything. */
static krait_status above_library(struct search *s, char *folder, bool *found) {
    char stdlib[PATH_MAX];
    for (go_up(folder); folder[0]; go_up(folder)) {
        *found = true;
        if (holds(folder, "pyvenv.cfg")) { /* unpacked into a venv, it serves that venv */
            s->version = unknown;
            join(s->executable, "%s", folder);
            return from_venv(s);
        }
        if (find_stdlib(folder, &s->version, stdlib)) return from_libraries(s, folder);
    }
    *found = false;
    return KRAIT_OK;
}

static krait_status from_library(struct search *s) {
    char           why[WHY_MAX], folder[PATH_MAX];
    struct version library;
    bool           found;
    krait_status   status;
    join(s->library, "%s", s->executable);
    if (!check_library(s->library, &library, why)) return FAIL(s, KRAIT_E_NO_LIBPYTHON, "%s %s", named(s), why);
    if (library.minor < 0 && !library_version(s->library, &library))
        return FAIL(s, KRAIT_E_NO_LIBPYTHON, "%s does not tell its version; right would be a libpython3.Y.so.1.0",
                    named(s));
    s->version = library;
    if (library.major != 3 || library.minor < KRAIT__PYTHON_MINOR_MIN) return too_old(s);
    join(folder, "%s", s->library);
    status = above_library(s, folder, &found);
    if (!found && realpath(s->library, folder)) status = above_library(s, folder, &found);
    if (status) return status;
    if (!found)
        return FAIL(s, KRAIT_E_NO_PYTHON,
                    "there is no lib/python%d.%d/os.py in any folder above %s; right would be the libpython of a whole"
                    " installation",
                    library.major, library.minor, s->library);
    if (s->version.minor == library.minor && s->version.threaded == library.threaded) return KRAIT_OK;
    return FAIL(s, KRAIT_E_NO_LIBPYTHON,
                "this is the library of Python %d.%d%s, but what lies around it in %s is %d.%d%s", library.major,
                library.minor, library.threaded ? "t" : "", s->venv[0] ? s->venv : s->base, s->version.major,
                s->version.minor, s->version.threaded ? "t" : "");
}

static krait_status enter(struct search *s) {
    struct stat st;
    if (stat(s->executable, &st)) return missing(s, errno);
    if (S_ISDIR(st.st_mode)) return from_folder(s);
    if (s->rule == rule_venv) return FAIL(s, KRAIT_E_NO_PYTHON, "%s is no folder", named(s));
    if (S_ISREG(st.st_mode) && is_library_name(last_name(s->executable))) return from_library(s);
    return from_executable(s);
}

/* ---- the shared library ------------------------------------------------------------------------------------------ */

static bool try_library(struct search *s, const char *path) {
    struct version inside;
    char           why[WHY_MAX];
    if (!is_there(path)) return false;
    if (check_library(path, &inside, why)) {
        if (inside.minor < 0 || (inside.minor == s->version.minor && inside.threaded == s->version.threaded)) {
            NOTE(s, "%s: the shared library\n", path);
            return join(s->library, "%s", path);
        }
        snprintf(why, sizeof why, "calls itself the library of Python %d.%d%s", inside.major, inside.minor,
                 inside.threaded ? "t" : "");
    }
    NOTE(s, "%s %s\n", path, why);
    if (!s->refused[0]) snprintf(s->refused, sizeof s->refused, "%s %s", path, why);
    return false;
}

static bool try_folder(struct search *s, const char *folder) {
#ifdef __APPLE__
    static const char *const endings[] = { ".dylib" };
#else
    static const char *const endings[] = { ".so.1.0", ".so.1", ".so" };
#endif
    char path[PATH_MAX];
    for (int debug = 0; debug < 2; debug++)
        for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
            const char *flag = debug != s->version.debug ? "d" : "";
            if (join(path, "%s/libpython%d.%d%s%s%s", folder, s->version.major, s->version.minor,
                     s->version.threaded ? "t" : "", flag, endings[i]) &&
                try_library(s, path))
                return true;
        }
    return false;
}

/* The folders in parent/below with `mark` in their name: multiarch folders have a triplet's dash. */
static bool try_folders(struct search *s, const char *parent, const char *below, const char *mark) {
    char           folder[PATH_MAX];
    struct dirent *entry;
    bool           found = false;
    DIR           *dir = join(folder, "%s/%s", parent, below) ? opendir(folder) : NULL;
    while (dir && !found && (entry = readdir(dir)))
        if (strstr(entry->d_name, mark) && join(folder, "%s/%s/%s", parent, below, entry->d_name))
            found = try_folder(s, folder);
    if (dir) closedir(dir);
    return found;
}

static bool try_below(struct search *s, const char *parent, const char *below) {
    char folder[PATH_MAX];
    return join(folder, "%s/%s", parent, below) && try_folder(s, folder);
}

static bool try_all(struct search *s) {
    char bin[PATH_MAX];
    if (s->venv[0] && (try_below(s, s->venv, "libpython/usr/lib") ||
                       try_folders(s, s->venv, "libpython/usr/lib", "-") || try_below(s, s->venv, "lib")))
        return true;
    if (try_below(s, s->base, "lib") || try_below(s, s->base, "lib64") || try_folders(s, s->base, "lib", "-"))
        return true;
#ifdef __APPLE__
    if (join(bin, "%s/Python", s->base) && try_library(s, bin)) return true; /* a framework */
#endif
    if (try_folders(s, s->stdlib, ".", "config-")) return true;
    join(bin, "%s", s->real); /* a source tree that was built and not installed */
    go_up(bin);
    return try_folder(s, bin);
}

/* pyenv keeps each Python in <root>/versions/<name>, beside <root>/shims. */
static bool is_pyenv(const char *base) {
    char folder[PATH_MAX];
    join(folder, "%s", base);
    go_up(folder);
    if (strcmp(last_name(folder), "versions") != 0) return false;
    go_up(folder);
    return strstr(last_name(folder), "pyenv") || (join(folder, "%s/../../shims", base) && is_folder(folder));
}

/* The command that brings this Python's library depends on who installed it. */
static void add_cure(const struct search *s, krait__text *text) {
    char folder[PATH_MAX];
    if (join(folder, "%s/conda-meta", s->base) && is_folder(folder)) {
        krait__text_addf(text, "conda install --prefix %s --force-reinstall python=3.%d", s->base, s->version.minor);
    } else if (is_pyenv(s->base)) {
        krait__text_addf(text, "PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force %s", last_name(s->base));
    } else if (!strcmp(last_name(s->base), "usr") && join(folder, "%s/../var/lib/dpkg", s->base) && is_folder(folder)) {
        krait__text_addf(text, "apt-get install libpython3.%d", s->version.minor);
        if (s->venv[0])
            krait__text_addf(
                text, " (without root: apt-get download libpython3.%d && dpkg -x libpython3.%d_*.deb %s/libpython)",
                s->version.minor, s->version.minor, s->venv);
    } else {
        krait__text_addf(text,
                         "install the package that has it, or build this Python with ./configure --enable-shared");
    }
}

static krait_status no_library(const struct search *s) {
    krait__text  cure = { 0 };
    krait_status status;
    add_cure(s, &cure);
    if (cure.failed) status = krait__fail_nomem(s->err);
    else if (s->refused[0])
        status = FAIL(s, KRAIT_E_NO_LIBPYTHON, "%s; what would bring a right one: %s", s->refused, cure.data);
    else
        status = FAIL(s, KRAIT_E_NO_LIBPYTHON,
                      "Python 3.%d in %s has no shared library, libpython3.%d%s.so.1.0 is not in its"
                      " lib, lib64 or lib/*-*; what would bring it: %s",
                      s->version.minor, s->base, s->version.minor, s->version.threaded ? "t" : "", cure.data);
    krait__text_free(&cure);
    return status;
}

/* ---- the entries ------------------------------------------------------------------------------------------------- */

static krait_status search(struct search *s, const char *python) {
    krait_status status;
    if (krait__os_is_static())
        return krait__fail(s->err, KRAIT_E_STATIC,
                           "this program is linked statically, so it cannot load Python; link it without -static"
                           " (libkrait.a itself may be linked in)");
    status = choose(s, python);
    if (status) return status;
    NOTE(s, "%s: %s\n", s->rule, s->given);
    status = enter(s);
    if (status || s->library[0] || try_all(s)) return status;
    return no_library(s);
}

static krait_status fill(const struct search *s, krait__place *place) {
    place->rule = s->rule;
    place->given = krait__strdup(s->given);
    place->executable = krait__strdup(s->executable);
    place->libpython = krait__strdup(s->library);
    place->prefix = krait__strdup(s->venv[0] ? s->venv : s->base);
    place->base_prefix = krait__strdup(s->base);
    place->stdlib = krait__strdup(s->stdlib);
    place->minor = s->version.minor;
    place->probed = s->probed;
    if (place->given && place->executable && place->libpython && place->prefix && place->base_prefix && place->stdlib)
        return KRAIT_OK;
    krait__place_free(place);
    return krait__fail_nomem(s->err);
}

krait_status krait__locate(const char *python, krait__place *place, krait__text *steps, krait_error **err) {
    struct search *s;
    krait_status   status;
    *place = (krait__place){ 0 };
    if (krait__stuck(err)) return krait_error_status(*err);
    s = krait__zalloc(sizeof *s);
    if (!s) return krait__fail_nomem(err);
    s->steps = steps;
    s->err = err;
    s->version = s->made_for = unknown;
    status = search(s, python);
    if (!status) status = fill(s, place);
    krait__free(s);
    krait__at(err, "locate");
    return status;
}

void krait__place_free(krait__place *place) {
    if (!place) return;
    krait__free(place->given);
    krait__free(place->executable);
    krait__free(place->libpython);
    krait__free(place->prefix);
    krait__free(place->base_prefix);
    krait__free(place->stdlib);
    *place = (krait__place){ 0 };
}

/* ---- is it whole? ------------------------------------------------------------------------------------------------ */

/* What CPython needs to get up, NULL when all of it can be read; a zip is taken as whole. */
static const char *missing_module(const char *stdlib) {
    size_t length = strlen(stdlib);
    if (length > 4 && !strcmp(stdlib + length - 4, ".zip")) return is_file(stdlib) ? NULL : "the file";
    if (!holds_module(stdlib, "os.py")) return "os.py";
    return holds_module(stdlib, "encodings/__init__.py") ? NULL : "encodings/__init__.py";
}

/* The forms of lib/python3.Y, one for each index; false past the last. */
static bool library_folder(const char *prefix, int minor, int index, char out[PATH_MAX]) {
    if (index < 4) join(out, "%s/%s/python3.%d%s", prefix, index & 1 ? "lib64" : "lib", minor, index & 2 ? "t" : "");
    return index < 4;
}

static bool is_whole_home(const char *prefix, int minor) {
    char           stdlib[PATH_MAX];
    struct version version = { 3, minor, false, false };
    for (int i = 0; library_folder(prefix, minor, i, stdlib); i++)
        if (!missing_module(stdlib)) return true;
    return find_stdlib(prefix, &version, stdlib) && !missing_module(stdlib);
}

static bool has_dynload(const char *prefix, int minor) {
    char folder[PATH_MAX], dynload[PATH_MAX];
    for (int i = 0; library_folder(prefix, minor, i, folder); i++)
        if (join(dynload, "%s/lib-dynload", folder) && is_folder(dynload)) return true;
    return false;
}

/* PYTHONHOME is prefix or prefix:exec_prefix. Read as Python will read it, by getenv. */
static krait_status check_home_variable(const krait__place *place, krait_error **err) {
    const char *home = getenv("PYTHONHOME");
    const char *exec = home ? strchr(home, ':') : NULL;
    char        prefix[PATH_MAX];
    if (!home || !*home) return KRAIT_OK;
    join(prefix, "%.*s", exec ? (int)(exec - home) : (int)strnlen(home, PATH_MAX), home);
    if (!prefix[0] || !is_whole_home(prefix, place->minor))
        return krait__fail(err, KRAIT_E_NO_PYTHON,
                           "PYTHONHOME is %.1000s: %s/lib/python3.%d has no os.py and encodings, so Python"
                           " 3.%d cannot start; unset PYTHONHOME, or start krait with KRAIT_ISOLATED",
                           home, prefix, place->minor, place->minor);
    if (exec && !has_dynload(exec + 1, place->minor))
        return krait__fail(err, KRAIT_E_NO_PYTHON,
                           "PYTHONHOME is %.1000s: %.1000s/lib/python3.%d/lib-dynload is not there; unset"
                           " PYTHONHOME, or start krait with KRAIT_ISOLATED",
                           home, exec + 1, place->minor);
    return KRAIT_OK;
}

/* A numpy folder without __init__.py is imported all the same, as an empty namespace, and fails far from the cause. */
static krait_status check_numpy(const krait__place *place, krait_error **err) {
    char folder[PATH_MAX], numpy[PATH_MAX];
    for (int i = 0; library_folder(place->prefix, place->minor, i, folder); i++) {
        if (!join(numpy, "%s/site-packages/numpy", folder) || !is_folder(numpy)) continue;
        if (holds_module(numpy, "__init__.py")) return KRAIT_OK;
        return krait__fail(err, KRAIT_E_NO_NUMPY,
                           "numpy is half deleted: %s has no __init__.py; install it again: %s -m pip"
                           " install --force-reinstall numpy",
                           numpy, place->executable);
    }
    return KRAIT_OK;
}

krait_status krait__place_check(const krait__place *place, bool use_environment, krait_error **err) {
    const char  *lacks;
    krait_status status = KRAIT_OK;
    if (krait__stuck(err)) return krait_error_status(*err);
    lacks = missing_module(place->stdlib);
    if (lacks)
        status = krait__fail(err, KRAIT_E_NO_PYTHON,
                             "the standard library of Python 3.%d is not whole: %s has no %s; install"
                             " this Python again, or name another one with KRAIT_PYTHON",
                             place->minor, place->stdlib, lacks);
    if (!status && use_environment) status = check_home_variable(place, err);
    if (!status) status = check_numpy(place, err);
    krait__at(err, "locate");
    return status;
}
