/* locate: what it finds and what it refuses, on installations, venvs and libraries made up in a temporary folder, and
 * on the Pythons this machine has. The made-up ones cannot run: finding them shows that nothing was started. Build with
 * -DKRAIT_FAULTS to also fail every allocation in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "locate.h"
#include "mem.h"
#include "os.h"

static char         root[PATH_MAX];        /* this test's own folder; removed after it */
static char         first_path[64 * 1024]; /* PATH as it was */
static char         tree[PATH_MAX];        /* the folder that holds lib/ and tests/ */
static krait__place place;
static krait__text  steps;
static krait_error *err;

/* ---- making things up -------------------------------------------------------------------------------------------- */

/* A path below root; one of the last 16 asked for. */
static const char *at(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));
static const char *at(const char *format, ...) {
    static char paths[16][PATH_MAX];
    static int  next;
    char       *path = paths[next++ % 16];
    int         length = snprintf(path, PATH_MAX, "%s/", root);
    va_list     args;
    va_start(args, format);
    vsnprintf(path + length, (size_t)(PATH_MAX - length), format, args);
    va_end(args);
    return path;
}

static void make_folders(const char *path) {
    char text[PATH_MAX];
    snprintf(text, sizeof text, "%s", path);
    for (char *slash = strchr(text + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(text, 0755)) assert_int_equal(errno, EEXIST);
        *slash = '/';
    }
}

static void write_file(const char *path, const void *data, size_t size, mode_t mode) {
    int fd;
    make_folders(path);
    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void write_text(const char *path, const char *text) {
    write_file(path, text, strlen(text), 0644);
}

static void write_script(const char *path, const char *text) {
    write_file(path, text, strlen(text), 0755);
}

static void make_link(const char *target, const char *path) {
    make_folders(path);
    assert_int_equal(symlink(target, path), 0);
}

/* A shared library as small as one can be: it has the headers that are looked at, and no code. */
struct image {
    ElfW(Ehdr) head;
    ElfW(Phdr) load, dynamic;
    ElfW(Dyn)  entries[3];
    char       names[64];
};

enum { IMAGE_ADDRESS = 0x10000 };

static struct image make_image(const char *soname) {
    struct image image;
    int          fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    memset(&image, 0, sizeof image);
    assert_int_equal(read(fd, &image.head, sizeof image.head), sizeof image.head);
    close(fd);
    image.head.e_type = ET_DYN;
    image.head.e_phoff = offsetof(struct image, load);
    image.head.e_phnum = 2;
    image.load = (ElfW(Phdr)){ .p_type = PT_LOAD, .p_vaddr = IMAGE_ADDRESS, .p_filesz = sizeof image };
    image.dynamic = (ElfW(Phdr)){ .p_type = PT_DYNAMIC, .p_offset = offsetof(struct image, entries) };
    image.dynamic.p_filesz = sizeof image.entries;
    image.entries[0].d_tag = soname ? DT_SONAME : DT_NULL;
    image.entries[0].d_un.d_val = 1;
    image.entries[1].d_tag = DT_STRTAB;
    image.entries[1].d_un.d_ptr = IMAGE_ADDRESS + offsetof(struct image, names);
    snprintf(image.names + 1, sizeof image.names - 1, "%s", soname ? soname : "");
    return image;
}

static void write_library(const char *path, const char *soname) {
    struct image image = make_image(soname);
    write_file(path, &image, sizeof image, 0644);
}

static void write_stdlib(const char *folder) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/os.py", folder);
    write_text(path, "");
    snprintf(path, sizeof path, "%s/encodings/__init__.py", folder);
    write_text(path, "");
}

/* What looks like a program in machine code, and cannot run. */
static void write_binary(const char *path) {
    write_file(path, "\177ELF not a program", 18, 0755);
}

/* An installation below root; `flags` is "" or "t". */
static void install(const char *name, int minor, const char *flags) {
    char file[64];
    snprintf(file, sizeof file, "python3.%d%s", minor, flags);
    write_binary(at("%s/bin/%s", name, file));
    unlink(at("%s/bin/python3", name));
    make_link(file, at("%s/bin/python3", name));
    write_stdlib(at("%s/lib/%s", name, file));
    snprintf(file, sizeof file, "libpython3.%d%s.so.1.0", minor, flags);
    write_library(at("%s/lib/%s", name, file), file);
}

/* A venv below root made from an installation there; its pyvenv.cfg is `config`, or the usual one for NULL. */
static void make_venv(const char *name, const char *base, int minor, const char *config) {
    char text[2 * PATH_MAX];
    snprintf(text, sizeof text, "home = %s/bin\ninclude-system-site-packages = false\nversion = 3.%d.1\n",
             at("%s", base), minor);
    write_text(at("%s/pyvenv.cfg", name), config ? config : text);
    make_link(at("%s/bin/python3.%d", base, minor), at("%s/bin/python", name));
    make_link("python", at("%s/bin/python3", name));
    write_text(at("%s/bin/activate", name), "");
    write_text(at("%s/bin/activate.fish", name), "");
    make_folders(at("%s/lib/python3.%d/site-packages/", name, minor));
}

/* A script that answers the probe. "" for stdlib: as a Python that does not tell. */
static void write_answer(const char *path, const char *executable, const char *base, const char *stdlib,
                         const char *name, const char *version) {
    char text[6 * PATH_MAX];
    snprintf(text, sizeof text,
             "#!/bin/sh\necho some noise of the shim\n"
             "printf '\\036krait-probe\\036%%s\\036%%s\\036%%s\\036%%s\\036%%s\\036' '%s' '%s' '%s' '%s' '%s'\n"
             "printf '\\036krait-end\\036'\n",
             executable, base, stdlib, name, version);
    write_script(path, text);
}

/* ---- asking and comparing ---------------------------------------------------------------------------------------- */

static void forget(void) {
    krait__place_free(&place);
    krait__text_free(&steps);
    krait_error_clear(&err);
}

static krait_status find(const char *python) {
    krait_status status;
    forget();
    status = krait__locate(python, &place, &steps, &err);
    if (status) {
        assert_non_null(err);
        assert_int_equal(krait_error_status(err), status);
        assert_string_equal(krait_error_step(err), "locate");
        assert_null(place.executable);
    } else {
        assert_null(err);
    }
    return status;
}

static void assert_contains(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" does not have \"%s\"", text, part);
}

/* The status, and each of the parts (up to NULL) in the message. */
static void assert_refused(const char *python, krait_status status, ...) {
    va_list      parts;
    const char  *part;
    krait_status got = find(python);
    if (got != status)
        fail_msg("%s, not %s: %s", krait_status_name(got), krait_status_name(status), krait_error_message(err));
    va_start(parts, status);
    while ((part = va_arg(parts, const char *))) assert_contains(krait_error_message(err), part);
    va_end(parts);
}

static void assert_found(const char *python) {
    if (find(python)) fail_msg("%s: %s", krait_status_name(krait_error_status(err)), krait_error_message(err));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk) {
    (void)st, (void)type, (void)walk;
    return remove(path);
}

static int set_up(void **state) {
    const char *folder = getenv("TMPDIR");
    char        real[PATH_MAX];
    (void)state;
    snprintf(root, sizeof root, "%s/krait-locate-XXXXXX", folder && *folder ? folder : "/tmp");
    if (!mkdtemp(root) || !realpath(root, real) || chmod(root, 0755)) return -1;
    snprintf(root, sizeof root, "%s", real);
    make_folders(at("empty/"));
    return unsetenv("KRAIT_PYTHON") || unsetenv("VIRTUAL_ENV") || unsetenv("PYTHONHOME") ||
           setenv("PATH", at("empty"), 1);
}

/* Nothing may be left: no block of memory, no child, no file. */
static int tear_down(void **state) {
    bool clean;
    (void)state;
    forget();
    clean = !chdir("/") && krait__mem_blocks() == 0 && waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS) || !clean;
}

/* ---- which rule decides ------------------------------------------------------------------------------------------ */

static void the_first_rule_that_is_set_decides(void **state) {
    char folder[PATH_MAX];
    (void)state;
    install("a", 11, "");
    install("b", 12, "");
    install("c", 13, "");
    install("d", 14, "");
    make_venv("venv", "c", 13, NULL);
    setenv("KRAIT_PYTHON", at("b/bin/python3"), 1);
    setenv("VIRTUAL_ENV", at("venv"), 1);
    setenv("PATH", at("d/bin"), 1);
    snprintf(folder, sizeof folder, "%s", at("a"));
    assert_found(folder);
    assert_string_equal(place.rule, "krait_options.python");
    assert_string_equal(place.given, folder);
    assert_int_equal(place.minor, 11);
    assert_found(NULL);
    assert_string_equal(place.rule, "KRAIT_PYTHON");
    assert_int_equal(place.minor, 12);
    unsetenv("KRAIT_PYTHON");
    assert_found(NULL);
    assert_string_equal(place.rule, "VIRTUAL_ENV");
    assert_string_equal(place.prefix, at("venv"));
    unsetenv("VIRTUAL_ENV");
    assert_found(NULL);
    assert_string_equal(place.rule, "python3 on PATH");
    assert_string_equal(place.given, at("d/bin/python3"));
    assert_int_equal(place.minor, 14);
}

static void empty_counts_as_unset(void **state) {
    (void)state;
    install("d", 14, "");
    setenv("KRAIT_PYTHON", "", 1);
    setenv("VIRTUAL_ENV", "", 1);
    setenv("PATH", at("d/bin"), 1);
    assert_found("");
    assert_string_equal(place.rule, "python3 on PATH");
}

/* What is named is refused rather than passed over, although PATH has a good one. */
static void a_named_python_is_not_second_guessed(void **state) {
    (void)state;
    install("good", 13, "");
    setenv("PATH", at("good/bin"), 1);
    assert_refused(at("nothing"), KRAIT_E_NO_PYTHON, "krait_options.python is ", "/nothing: it cannot be opened",
                   "No such file", "right would be", NULL);
    setenv("VIRTUAL_ENV", at("deleted"), 1);
    assert_refused(NULL, KRAIT_E_NO_PYTHON, "VIRTUAL_ENV is ", "python3 -m venv ", "/deleted", "unset VIRTUAL_ENV",
                   NULL);
    setenv("VIRTUAL_ENV", at("good/bin/python3"), 1);
    assert_refused(NULL, KRAIT_E_NO_PYTHON, "VIRTUAL_ENV is ", "is no folder", NULL);
    setenv("KRAIT_PYTHON", at("nothing"), 1);
    assert_refused(NULL, KRAIT_E_NO_PYTHON, "KRAIT_PYTHON is ", NULL);
}

/* The same file, climbed to from the folder of this test program. */
static void origin_is_the_folder_of_the_program(void **state) {
    char program[PATH_MAX], path[2 * PATH_MAX] = "$ORIGIN";
    (void)state;
    install("a", 12, "");
    program[readlink("/proc/self/exe", program, sizeof program - 1)] = 0;
    for (const char *c = strchr(program + 1, '/'); c; c = strchr(c + 1, '/')) strcat(path, "/..");
    strcat(path, at("a/bin/python3"));
    assert_found(path);
    assert_int_equal(place.minor, 12);
    setenv("KRAIT_PYTHON", path, 1);
    assert_found(NULL);
    assert_int_equal(place.minor, 12);
    assert_refused("$ORIGIN/no/such/file", KRAIT_E_NO_PYTHON, "/no/such/file", NULL);
    assert_refused("$ORIGINAL/python3", KRAIT_E_NO_PYTHON, "$ORIGINAL/python3", NULL);
}

static void relative_paths_begin_in_the_current_folder(void **state) {
    static const char *const forms[] = {
        "a", "a/", "a//", "./a", "././a/bin/python3", "a/bin/python3", "a/lib/../bin/python3"
    };
    (void)state;
    install("a", 12, "");
    assert_int_equal(chdir(root), 0);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        assert_found(forms[i]);
        assert_int_equal(place.executable[0], '/');
        assert_int_equal(place.minor, 12);
        assert_string_equal(place.base_prefix, at("a"));
        if (i < 6) assert_string_equal(place.executable, at("a/bin/python3"));
    }
    assert_string_equal(place.given, "a/lib/../bin/python3");
}

/* As a shell would; but VIRTUAL_ENV is a folder and nothing else. */
static void a_bare_name_is_looked_for_on_path(void **state) {
    (void)state;
    install("a", 12, "");
    setenv("PATH", at("a/bin"), 1);
    assert_found("python3.12");
    assert_string_equal(place.executable, at("a/bin/python3.12"));
    assert_refused("python3.13", KRAIT_E_NO_PYTHON,
                   "krait_options.python is python3.13: ", "/python3.13 cannot be opened", NULL);
    setenv("VIRTUAL_ENV", "python3.12", 1);
    assert_refused(NULL, KRAIT_E_NO_PYTHON, "VIRTUAL_ENV is python3.12: No such file", NULL);
    assert_int_equal(chdir(at("a/bin")), 0);
    setenv("PATH", at("empty"), 1);
    assert_found("python3.12");
}

static void path_takes_the_first_executable_file(void **state) {
    char list[8 * PATH_MAX];
    (void)state;
    make_folders(at("folder/python3/"));
    write_text(at("plain/python3"), "not executable");
    make_link("gone", at("dangling/python3"));
    install("a", 12, "");
    install("b", 13, "");
    snprintf(list, sizeof list, "%s:%s:%s:%s:%s:%s", at("none"), at("folder"), at("plain"), at("dangling"), at("a/bin"),
             at("b/bin"));
    setenv("PATH", list, 1);
    assert_found(NULL);
    assert_string_equal(place.given, at("a/bin/python3"));
    assert_contains(steps.data, at("folder/python3: passed over"));
    assert_contains(steps.data, at("dangling/python3: passed over"));
}

static void an_empty_entry_of_path_is_the_current_folder(void **state) {
    char list[2 * PATH_MAX];
    (void)state;
    install("a", 12, "");
    assert_int_equal(chdir(at("a/bin")), 0);
    snprintf(list, sizeof list, "%s:", at("empty"));
    setenv("PATH", list, 1);
    assert_found(NULL);
    assert_string_equal(place.executable, at("a/bin/python3"));
    setenv("PATH", "::", 1);
    assert_found(NULL);
    assert_int_equal(chdir(at("a")), 0);
    setenv("PATH", "bin", 1);
    assert_found(NULL);
    assert_string_equal(place.executable, at("a/bin/python3"));
    assert_int_equal(chdir(at("empty")), 0);
    setenv("PATH", ":", 1);
    assert_refused(NULL, KRAIT_E_NO_PYTHON, NULL);
}

static void without_path_the_standard_one_is_used(void **state) {
    bool has_one = !access("/bin/python3", X_OK) || !access("/usr/bin/python3", X_OK);
    (void)state;
    unsetenv("PATH");
    find(NULL);
    if (has_one)
        assert_contains(steps.data, "python3 on PATH: /");
    else
        assert_contains(krait_error_message(err), "no python3 on PATH (not set)");
}

static void no_python3_on_path_names_what_else_is_there(void **state) {
    char list[2 * PATH_MAX];
    (void)state;
    assert_refused(NULL, KRAIT_E_NO_PYTHON, "there is no python3 on PATH (", at("empty"),
                   "install Python 3.11 or newer", "KRAIT_PYTHON", NULL);
    install("a", 11, "");
    install("b", 13, "");
    write_script(at("shims/python3.14"), "#!/bin/sh\n");
    snprintf(list, sizeof list, "%s:%s:%s", at("shims"), at("a/bin"), at("b/bin"));
    unlink(at("a/bin/python3"));
    unlink(at("b/bin/python3"));
    setenv("PATH", list, 1);
    assert_refused(NULL, KRAIT_E_NO_PYTHON, "set KRAIT_PYTHON to ", at("b/bin/python3.13, or to "),
                   at("a/bin/python3.11"), NULL);
    assert_null(strstr(krait_error_message(err), "python3.14"));
}

static void the_first_python3_decides_even_when_too_old(void **state) {
    char list[3 * PATH_MAX];
    (void)state;
    install("old", 9, "");
    install("shimmed", 12, "");
    install("new", 13, "");
    write_script(at("shims/python3.13"), "#!/bin/sh\n");
    snprintf(list, sizeof list, "%s:%s:%s", at("old/bin"), at("shims"), at("new/bin"));
    setenv("PATH", list, 1);
    assert_refused(NULL, KRAIT_E_PYTHON_VERSION, "python3 on PATH is ", "this is Python 3.9", at("old/bin/python3.9"),
                   "krait needs 3.11 or newer", "set KRAIT_PYTHON to ", at("new/bin/python3.13"), NULL);
    assert_refused(at("old"), KRAIT_E_PYTHON_VERSION, "this is Python 3.9", "krait needs 3.11 or newer", NULL);
    assert_null(strstr(krait_error_message(err), "set KRAIT_PYTHON to"));
}

static void a_path_too_long_is_refused(void **state) {
    static char text[3 * PATH_MAX];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    assert_refused(text, KRAIT_E_NO_PYTHON, "File name too long", NULL);
    text[0] = '/';
    assert_refused(text, KRAIT_E_NO_PYTHON, "File name too long", NULL);
    text[PATH_MAX - 4] = 0; /* is itself short enough; with a file's name behind it it is not */
    setenv("PATH", text, 1);
    assert_refused(NULL, KRAIT_E_NO_PYTHON, "there is no python3 on PATH", NULL);
}

/* In a program that runs with more rights than its user's, the user's variables choose nothing. */
enum { NOT_SECURE = 77, SECURE_LISTENED = 1 };

static int run_secure(void) {
    krait_status status;
    if (!getauxval(AT_SECURE)) return NOT_SECURE;
    status = krait__locate(NULL, &place, NULL, &err);
    if (!status) return !strcmp(place.rule, "python3 on PATH") && place.minor != 40 ? 0 : SECURE_LISTENED;
    return strstr(krait_error_message(err), "KRAIT_PYTHON is") ? SECURE_LISTENED : 0;
}

static void a_setuid_program_ignores_the_environment(void **state) {
    char  copy[PATH_MAX], command[3 * PATH_MAX];
    int   code;
    pid_t pid;
    (void)state;
    install("a", 40, "");
    setenv("KRAIT_PYTHON", at("a"), 1);
    setenv("PATH", at("a/bin"), 1);
    snprintf(copy, sizeof copy, "%s", at("setuid"));
    snprintf(command, sizeof command, "/bin/cp /proc/%d/exe '%s' 2>&1", (int)getpid(), copy);
    assert_int_equal(system(command), 0);
    if (chown(copy, 65534, (gid_t)-1) || chmod(copy, 04755)) skip(); /* only root can make one */
    pid = fork();
    if (pid == 0) {
        execl(copy, copy, "secure", (char *)NULL);
        _exit(126);
    }
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_true(WIFEXITED(code));
    if (WEXITSTATUS(code) == NOT_SECURE) skip(); /* a temporary folder mounted nosuid */
    assert_int_equal(WEXITSTATUS(code), 0);
}

/* ---- forms of what is named -------------------------------------------------------------------------------------- */

static void an_executable_is_found_through_links(void **state) {
    (void)state;
    install("a", 13, "");
    make_link(at("a/bin/python3"), at("elsewhere/py"));
    assert_found(at("elsewhere/py"));
    assert_string_equal(place.executable, at("elsewhere/py"));
    assert_string_equal(place.prefix, at("a"));
    assert_string_equal(place.base_prefix, at("a"));
    assert_string_equal(place.stdlib, at("a/lib/python3.13"));
    assert_string_equal(place.libpython, at("a/lib/libpython3.13.so.1.0"));
    assert_int_equal(place.minor, 13);
    assert_false(place.probed);
}

static void a_venv_is_found_by_folder_and_by_executable(void **state) {
    static const char *const forms[] = { "venv", "venv/", "venv/bin/python", "venv/bin/python3" };
    (void)state;
    install("a", 12, "");
    make_venv("venv", "a", 12, NULL);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        assert_found(at("%s", forms[i]));
        assert_string_equal(place.executable, at("%s", i == 3 ? "venv/bin/python3" : "venv/bin/python"));
        assert_string_equal(place.prefix, at("venv"));
        assert_string_equal(place.base_prefix, at("a"));
        assert_string_equal(place.libpython, at("a/lib/libpython3.12.so.1.0"));
        assert_false(place.probed);
    }
    make_link(at("venv/bin/python"), at("py")); /* not the venv any more, as for Python itself */
    assert_found(at("py"));
    assert_string_equal(place.prefix, at("a"));
}

static void pyvenv_cfg_may_lie_beside_the_executable(void **state) {
    char text[PATH_MAX + 16];
    (void)state;
    install("a", 12, "");
    make_link(at("a/bin/python3.12"), at("flat/python"));
    snprintf(text, sizeof text, "home=%s", at("a/bin"));
    write_text(at("flat/pyvenv.cfg"), text);
    assert_found(at("flat/python"));
    assert_string_equal(place.prefix, at("flat"));
}

static void an_installation_is_found_by_its_folder(void **state) {
    (void)state;
    install("a", 12, "");
    assert_found(at("a"));
    assert_string_equal(place.executable, at("a/bin/python3"));
    unlink(at("a/bin/python3"));
    make_link("python3.12", at("a/bin/python"));
    assert_found(at("a"));
    assert_string_equal(place.executable, at("a/bin/python"));
    unlink(at("a/bin/python"));
    write_text(at("a/bin/python3.99"), "not executable");
    write_script(at("a/bin/python3.12-config"), "#!/bin/sh\n");
    for (int minor = 5; minor < 12; minor++) write_script(at("a/bin/python3.%d", minor), "#!/bin/sh\n");
    assert_found(at("a"));
    assert_string_equal(place.executable, at("a/bin/python3.12"));
    write_text(at("b/readme"), "");
    assert_refused(at("b"), KRAIT_E_NO_PYTHON, "neither pyvenv.cfg", "bin/python3", NULL);
}

static void libraries_alone_are_enough(void **state) {
    (void)state;
    install("a", 12, "");
    unlink(at("a/bin/python3"));
    unlink(at("a/bin/python3.12"));
    assert_found(at("a"));
    assert_string_equal(place.executable, at("a/bin/python3.12"));
    assert_string_equal(place.base_prefix, at("a"));
    assert_found(at("a/lib/libpython3.12.so.1.0"));
    assert_string_equal(place.executable, at("a/bin/python3.12"));
    write_stdlib(at("a/lib/python3.13")); /* two versions: which one is not told */
    assert_refused(at("a"), KRAIT_E_NO_PYTHON, "neither pyvenv.cfg", NULL);
}

static void a_libpython_is_found_with_what_lies_around_it(void **state) {
    (void)state;
    install("a", 12, "");
    assert_found(at("a/lib/libpython3.12.so.1.0"));
    assert_string_equal(place.libpython, at("a/lib/libpython3.12.so.1.0"));
    assert_string_equal(place.executable, at("a/bin/python3.12"));
    assert_string_equal(place.base_prefix, at("a"));
    make_link(at("a/lib/libpython3.12.so.1.0"), at("links/libpython.so"));
    assert_found(at("links/libpython.so")); /* the name tells nothing, the library itself does */
    assert_string_equal(place.libpython, at("links/libpython.so"));
    assert_string_equal(place.base_prefix, at("a"));
    write_library(at("alone/libpython3.12.so.1.0"), "libpython3.12.so.1.0");
    assert_refused(at("alone/libpython3.12.so.1.0"), KRAIT_E_NO_PYTHON, "no lib/python3.12/os.py", "right would be",
                   NULL);
    write_library(at("a/lib/libpython3.so"), "libpython3.so");
    assert_refused(at("a/lib/libpython3.so"), KRAIT_E_NO_LIBPYTHON, "does not tell its version", "libpython3.Y.so.1.0",
                   NULL);
    write_library(at("a/lib/libpython3.9.so.1.0"), "libpython3.9.so.1.0");
    assert_refused(at("a/lib/libpython3.9.so.1.0"), KRAIT_E_PYTHON_VERSION, "this is Python 3.9", NULL);
    write_text(at("a/lib/libpython3.12.so"), "INPUT(libpython3.12.so.1.0)\n");
    assert_refused(at("a/lib/libpython3.12.so"), KRAIT_E_NO_LIBPYTHON, "is no ELF file (a linker script?)", NULL);
}

static void a_libpython_unpacked_into_a_venv_serves_it(void **state) {
    static const char library[] = "venv/libpython/usr/lib/x-linux-gnu/libpython3.12.so.1.0";
    (void)state;
    install("a", 12, "");
    install("b", 13, "");
    unlink(at("a/lib/libpython3.12.so.1.0"));
    make_venv("venv", "a", 12, NULL);
    write_library(at("%s", library), "libpython3.12.so.1.0");
    assert_found(at("venv"));
    assert_string_equal(place.libpython, at("%s", library));
    assert_found(at("%s", library));
    assert_string_equal(place.libpython, at("%s", library));
    assert_string_equal(place.executable, at("venv/bin/python"));
    assert_string_equal(place.prefix, at("venv"));
    make_venv("other", "b", 13, NULL);
    write_library(at("other/lib/libpython3.12.so.1.0"), "libpython3.12.so.1.0");
    assert_refused(at("other/lib/libpython3.12.so.1.0"), KRAIT_E_NO_LIBPYTHON, "the library of Python 3.12", "is 3.13",
                   NULL);
}

static void what_is_no_program_is_refused(void **state) {
    (void)state;
    write_text(at("plain"), "#!/bin/sh\n");
    assert_refused(at("plain"), KRAIT_E_NO_PYTHON, "it is not executable", NULL);
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    assert_refused(at("fifo"), KRAIT_E_NO_PYTHON, "it is neither a file nor a folder", NULL);
    make_link("gone", at("dangling"));
    assert_refused(at("dangling"), KRAIT_E_NO_PYTHON, "it is a link to a file that is gone", NULL);
    make_link("loop", at("loop"));
    assert_refused(at("loop"), KRAIT_E_NO_PYTHON, "it cannot be opened: ", NULL);
    assert_refused(at("plain/python"), KRAIT_E_NO_PYTHON, "it cannot be opened: Not a directory", NULL);
}

/* ---- pyvenv.cfg -------------------------------------------------------------------------------------------------- */

/* The venv in `config` (with %s for the home) is read as one made from root/a. */
static void assert_config(const char *config) {
    char text[2 * PATH_MAX];
    snprintf(text, sizeof text, config, at("a/bin"));
    nftw(at("venv"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
    make_venv("venv", "a", 12, text);
    assert_found(at("venv"));
    assert_string_equal(place.prefix, at("venv"));
    assert_string_equal(place.base_prefix, at("a"));
    if (strstr(config, "%s"))
        assert_contains(steps.data, at("venv/pyvenv.cfg: home %s/a/bin\n", root));
    else
        assert_contains(steps.data, "home missing"); /* bin/python is a link, which tells as well */
}

static void pyvenv_cfg_is_read_as_python_reads_it(void **state) {
    (void)state;
    install("a", 12, "");
    assert_config("home = %s\nversion = 3.12.0\n");
    assert_config("home=%s");
    assert_config("\t home \t=\t  %s  \t\nversion=3.12");
    assert_config("include-system-site-packages = true\r\nhome = %s\r\nversion = 3.12.1\r\n");
    assert_config("\xef\xbb\xbfhome = %s\n");
    assert_config("HOME = %s\nVersion_Info = 3.12.1.final.0\n");
    assert_config("# a line\n\nno equals sign\n = no key\nhome = %s\nhome = /the/first/counts\n");
    assert_config("version = garbage\nhome = %s\n");
    assert_config("");
    assert_config("home =\n");
}

static void paths_may_be_utf8_or_bytes(void **state) {
    (void)state;
    install("caf\xc3\xa9 \xe6\xb8\xac\xe8\xa9\xa6", 12, "");
    make_venv("v\xc3\xa9nv", "caf\xc3\xa9 \xe6\xb8\xac\xe8\xa9\xa6", 12, NULL);
    assert_found(at("v\xc3\xa9nv"));
    assert_string_equal(place.base_prefix, at("caf\xc3\xa9 \xe6\xb8\xac\xe8\xa9\xa6"));
    install("latin\xe9", 12, "");
    make_venv("other", "latin\xe9", 12, NULL);
    assert_found(at("other"));
    assert_string_equal(place.base_prefix, at("latin\xe9"));
}

static void a_huge_pyvenv_cfg_is_read_in_part(void **state) {
    size_t size = 4 * 1024 * 1024;
    char  *text = malloc(size);
    (void)state;
    install("a", 12, "");
    make_venv("venv", "a", 12, NULL);
    memset(text, 'x', size);
    snprintf(text, PATH_MAX, "home = %s\n%*s", at("a/bin"), 1, "x");
    write_file(at("venv/pyvenv.cfg"), text, size, 0644);
    free(text);
    assert_found(at("venv"));
    assert_string_equal(place.base_prefix, at("a"));
}

/* bin/python is then a file of its own: the home's names tell the version. */
static void a_venv_of_copies_is_found_by_its_home(void **state) {
    (void)state;
    install("a", 12, "");
    install("a", 13, "");
    make_venv("venv", "a", 13, NULL);
    unlink(at("venv/bin/python"));
    write_binary(at("venv/bin/python"));
    assert_found(at("venv"));
    assert_int_equal(place.minor, 13);
    assert_string_equal(place.prefix, at("venv"));
    unlink(at("a/bin/python3")); /* now only pyvenv.cfg tells */
    assert_found(at("venv"));
    assert_int_equal(place.minor, 13);
}

/* A home that is itself no installation does no harm while bin/python is a link. */
static void the_link_helps_where_the_home_does_not(void **state) {
    char text[PATH_MAX + 16];
    (void)state;
    install("a", 12, "");
    make_folders(at("shims/"));
    snprintf(text, sizeof text, "home = %s\n", at("shims"));
    make_venv("venv", "a", 12, text);
    assert_found(at("venv"));
    assert_string_equal(place.base_prefix, at("a"));
}

static void a_venv_whose_home_is_gone(void **state) {
    (void)state;
    install("a", 12, "");
    make_venv("venv", "a", 12, NULL);
    assert_int_equal(rename(at("a"), at("upgraded")), 0);
    setenv("VIRTUAL_ENV", at("venv"), 1);
    assert_refused(NULL, KRAIT_E_NO_PYTHON, "VIRTUAL_ENV is ", at("a/bin, which is gone"), at("venv/pyvenv.cfg"),
                   at("venv"), "python3 -m venv --clear ", NULL);
    assert_refused(at("venv/bin/python"), KRAIT_E_NO_PYTHON, at("a/bin, which is gone"), "python3 -m venv --clear ",
                   NULL);
}

static void a_venv_without_its_python(void **state) {
    (void)state;
    install("a", 12, "");
    make_venv("venv", "a", 12, NULL);
    unlink(at("a/bin/python3.12"));
    assert_refused(at("venv"), KRAIT_E_NO_PYTHON, at("venv/bin/python"), "a link to a file that is gone",
                   "python3 -m venv --clear ", NULL);
    assert_refused(at("venv/bin/python"), KRAIT_E_NO_PYTHON, "a link to a file that is gone",
                   "python3 -m venv --clear ", NULL);
    unlink(at("venv/bin/python"));
    assert_refused(at("venv"), KRAIT_E_NO_PYTHON, at("venv/bin/python is missing"), "python3 -m venv --clear ", NULL);
    nftw(at("venv/bin"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
    assert_refused(at("venv"), KRAIT_E_NO_PYTHON, at("venv/bin/python is missing"), "python3 -m venv --clear ", NULL);
}

static void a_venv_without_pyvenv_cfg(void **state) {
    (void)state;
    install("a", 12, "");
    make_venv("venv", "a", 12, NULL);
    unlink(at("venv/pyvenv.cfg"));
    assert_refused(at("venv"), KRAIT_E_NO_PYTHON, "half deleted", "no pyvenv.cfg", "python3 -m venv --clear ", NULL);
    assert_refused(at("venv/bin/python"), KRAIT_E_NO_PYTHON, "half deleted", NULL);
    unlink(at("venv/bin/python"));
    unlink(at("venv/bin/python3"));
    assert_refused(at("venv"), KRAIT_E_NO_PYTHON, "half deleted", NULL);
    write_text(at("a/bin/activate"), ""); /* a conda has these and is whole */
    write_text(at("a/bin/activate.fish"), "");
    make_folders(at("a/conda-meta/"));
    assert_found(at("a"));
}

static void a_venv_of_another_version_than_its_base(void **state) {
    (void)state;
    install("a", 13, "");
    make_venv("venv", "a", 13, NULL);
    write_text(at("venv/pyvenv.cfg"), "version = 3.11.2\n");
    assert_refused(at("venv"), KRAIT_E_NO_PYTHON, "made for Python 3.11", "3.13 now", "python3 -m venv --clear ", NULL);
}

static void an_unreadable_pyvenv_cfg_is_told(void **state) {
    int   code;
    pid_t pid;
    (void)state;
    install("a", 12, "");
    make_venv("venv", "a", 12, NULL);
    assert_int_equal(chmod(at("venv/pyvenv.cfg"), 0), 0);
    pid = fork();
    if (pid == 0) { /* as root everything can be read */
        if (getuid() == 0 && setuid(65534)) _exit(2);
        if (krait__locate(at("venv"), &place, NULL, &err) != KRAIT_E_NO_PYTHON) _exit(3);
        _exit(strstr(krait_error_message(err), "pyvenv.cfg cannot be read: Permission denied") ? 0 : 4);
    }
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_int_equal(code, 0);
}

/* ---- the base ---------------------------------------------------------------------------------------------------- */

static void the_standard_library_may_lie_in_lib64_or_a_zip(void **state) {
    (void)state;
    install("a", 12, "");
    assert_int_equal(rename(at("a/lib"), at("a/lib64")), 0);
    assert_found(at("a"));
    assert_string_equal(place.stdlib, at("a/lib64/python3.12"));
    assert_string_equal(place.libpython, at("a/lib64/libpython3.12.so.1.0"));
    install("b", 12, "");
    assert_int_equal(rename(at("b/lib/python3.12/os.py"), at("b/lib/python3.12/os.pyc")), 0);
    assert_found(at("b"));
    unlink(at("b/lib/python3.12/os.pyc"));
    write_text(at("b/lib/python312.zip"), "");
    assert_found(at("b"));
    assert_string_equal(place.stdlib, at("b/lib/python312.zip"));
}

static void the_prefix_is_found_from_deep_below(void **state) {
    (void)state;
    install("a", 12, "");
    write_binary(at("a/some/deep/folder/python3.12"));
    assert_found(at("a/some/deep/folder/python3.12"));
    assert_string_equal(place.base_prefix, at("a"));
}

static void several_versions_are_told_apart_by_name(void **state) {
    (void)state;
    install("a", 12, "");
    install("a", 13, "");
    install("a", 14, "");
    install("a", 14, "t");
    assert_found(at("a/bin/python3.12"));
    assert_int_equal(place.minor, 12);
    assert_found(at("a/bin/python3.14t"));
    assert_string_equal(place.libpython, at("a/lib/libpython3.14t.so.1.0"));
    assert_string_equal(place.stdlib, at("a/lib/python3.14t"));
    unlink(at("a/bin/python3"));
    write_binary(at("a/bin/python3"));
    assert_refused(at("a/bin/python3"), KRAIT_E_NO_PYTHON, "did not answer as a Python does", "cannot be started",
                   NULL);
    install("b", 13, "");
    unlink(at("b/bin/python3"));
    write_binary(at("b/bin/python3")); /* one version: the name need not tell */
    write_stdlib(at("b/lib/python2.7"));
    assert_found(at("b/bin/python3"));
    assert_int_equal(place.minor, 13);
    assert_false(place.probed);
}

/* What only lies in an installation's bin, a wrapper or any other program, does not pass for its Python. */
static void what_lies_beside_a_python_is_none(void **state) {
    (void)state;
    install("a", 12, "");
    install("b", 13, "");
    write_binary(at("a/bin/other"));
    assert_refused(at("a/bin/other"), KRAIT_E_NO_PYTHON, "cannot be started", NULL);
    write_answer(at("a/bin/python3.12"), at("b/bin/python3.13"), at("b"), "", "cpython", "python3.13");
    assert_found(at("a/bin/python3.12"));
    assert_true(place.probed);
    assert_string_equal(place.base_prefix, at("b"));
}

static void a_free_threaded_build_is_found_without_its_t(void **state) {
    (void)state;
    install("a", 14, "t");
    unlink(at("a/bin/python3"));
    write_binary(at("a/bin/python3.14"));
    assert_found(at("a/bin/python3.14"));
    assert_string_equal(place.stdlib, at("a/lib/python3.14t"));
    assert_string_equal(place.libpython, at("a/lib/libpython3.14t.so.1.0"));
    write_library(at("a/lib/libpython3.14.so.1.0"), "libpython3.14.so.1.0"); /* not this one's */
    assert_refused(at("a/lib/libpython3.14.so.1.0"), KRAIT_E_NO_LIBPYTHON, "the library of Python 3.14,", "is 3.14t",
                   NULL);
}

static void python_2_is_too_old(void **state) {
    (void)state;
    write_binary(at("a/bin/python2.7"));
    write_stdlib(at("a/lib/python2.7"));
    assert_refused(at("a/bin/python2.7"), KRAIT_E_PYTHON_VERSION, "this is Python 2.7", NULL);
}

/* ---- the library ------------------------------------------------------------------------------------------------- */

/* The installation root/a with its library elsewhere. */
static void move_library(const char *path) {
    nftw(at("a"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
    install("a", 12, "");
    make_folders(at("a/%s", path));
    assert_int_equal(rename(at("a/lib/libpython3.12.so.1.0"), at("a/%s", path)), 0);
}

static void the_library_is_found_where_installations_keep_it(void **state) {
    static const char *const paths[] = { "lib/libpython3.12.so.1.0",
                                         "lib/libpython3.12.so.1",
                                         "lib/libpython3.12.so",
                                         "lib/libpython3.12d.so.1.0",
                                         "lib64/libpython3.12.so.1.0",
                                         "lib/some-arch/libpython3.12.so.1.0",
                                         "lib/python3.12/config-3.12-some-arch/libpython3.12.so",
                                         "bin/libpython3.12.so.1.0" };
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        move_library(paths[i]);
        assert_found(at("a"));
        assert_contains(place.libpython, "libpython3.12");
        assert_int_equal(access(place.libpython, R_OK), 0);
    }
}

static void the_whole_name_comes_first(void **state) {
    (void)state;
    install("a", 12, "");
    write_library(at("a/lib/libpython3.12.so"), NULL);
    write_library(at("a/lib/libpython3.12d.so.1.0"), NULL);
    write_library(at("a/lib64/libpython3.12.so.1.0"), NULL);
    assert_found(at("a"));
    assert_string_equal(place.libpython, at("a/lib/libpython3.12.so.1.0"));
    write_binary(at("a/bin/python3.12d"));
    assert_found(at("a/bin/python3.12d"));
    assert_string_equal(place.libpython, at("a/lib/libpython3.12d.so.1.0"));
    write_binary(at("a/bin/python3.12-dbg"));
    assert_found(at("a/bin/python3.12-dbg"));
    assert_string_equal(place.libpython, at("a/lib/libpython3.12d.so.1.0"));
}

/* The library of root/a becomes this image, or its first `size` bytes; refused with these words. */
static void assert_unfit(struct image image, size_t size, const char *why) {
    write_file(at("a/lib/libpython3.12.so.1.0"), &image, size, 0644);
    assert_refused(at("a"), KRAIT_E_NO_LIBPYTHON, "libpython3.12.so.1.0", why, "what would bring a right one", NULL);
    assert_refused(at("a/lib/libpython3.12.so.1.0"), KRAIT_E_NO_LIBPYTHON, NULL);
}

static void a_library_that_cannot_be_loaded_is_refused(void **state) {
    struct image good = make_image("libpython3.12.so.1.0"), bad;
    (void)state;
    install("a", 12, "");
    bad = good;
    bad.head.e_machine = good.head.e_machine == EM_AARCH64 ? EM_X86_64 : EM_AARCH64;
    assert_unfit(bad, sizeof bad, good.head.e_machine == EM_AARCH64 ? "(x86-64, 64 bits)" : "(AArch64, 64 bits)");
    assert_contains(krait_error_message(err), "is built for another machine");
    bad.head.e_machine = 4242;
    assert_unfit(bad, sizeof bad, "(ELF machine 4242, 64 bits)");
    bad = good;
    bad.head.e_ident[EI_CLASS] = good.head.e_ident[EI_CLASS] == ELFCLASS64 ? ELFCLASS32 : ELFCLASS64;
    assert_unfit(bad, sizeof bad, "is built for another machine");
    bad = good;
    bad.head.e_type = ET_EXEC;
    assert_unfit(bad, sizeof bad, "is no shared library");
    bad.head.e_type = ET_REL;
    assert_unfit(bad, sizeof bad, "is no shared library");
    bad = good;
    bad.head.e_phnum = 1; /* no dynamic section */
    assert_unfit(bad, sizeof bad, "is no shared library");
    assert_unfit(good, 0, "is no ELF file (it is empty)");
    assert_unfit(good, 3, "is no ELF file");
    assert_unfit(good, 20, "is cut off");
    assert_unfit(good, sizeof good.head, "is cut off");
    assert_unfit(good, sizeof good - 1, "is cut off");
}

static void a_library_of_another_version_is_refused(void **state) {
    (void)state;
    install("a", 12, "");
    write_library(at("a/lib/libpython3.12.so.1.0"), "libpython3.13.so.1.0");
    assert_refused(at("a"), KRAIT_E_NO_LIBPYTHON, "calls itself the library of Python 3.13", NULL);
    write_library(at("a/lib/libpython3.12.so.1.0"), "libpython3.12t.so.1.0");
    assert_refused(at("a"), KRAIT_E_NO_LIBPYTHON, "calls itself the library of Python 3.12t", NULL);
    write_library(at("a/lib/libpython3.12.so.1.0"), NULL); /* says nothing of itself */
    assert_found(at("a"));
    assert_found(at("a/lib/libpython3.12.so.1.0"));
}

static void a_good_library_behind_an_unfit_one_is_found(void **state) {
    (void)state;
    move_library("lib/good-arch/libpython3.12.so.1.0");
    write_text(at("a/lib/libpython3.12.so"), "INPUT(libpython3.12.so.1.0)\n");
    make_link("gone", at("a/lib/libpython3.12.so.1"));
    make_folders(at("a/lib64/libpython3.12.so.1.0/"));
    assert_found(at("a"));
    assert_string_equal(place.libpython, at("a/lib/good-arch/libpython3.12.so.1.0"));
    assert_contains(steps.data, at("a/lib/libpython3.12.so is no ELF file"));
    assert_contains(steps.data, at("a/lib/libpython3.12.so.1 cannot be read: No such file"));
}

static void the_cure_is_that_of_who_installed_it(void **state) {
    (void)state;
    install("opt", 12, "");
    unlink(at("opt/lib/libpython3.12.so.1.0"));
    assert_refused(at("opt"), KRAIT_E_NO_LIBPYTHON, "Python 3.12 in ", at("opt"), "has no shared library",
                   "libpython3.12.so.1.0", "./configure --enable-shared", NULL);
    assert_int_equal(rename(at("opt"), at("usr")), 0);
    assert_refused(at("usr"), KRAIT_E_NO_LIBPYTHON, "./configure --enable-shared", NULL);
    make_folders(at("var/lib/dpkg/"));
    assert_refused(at("usr"), KRAIT_E_NO_LIBPYTHON, "apt-get install libpython3.12", NULL);
    assert_null(strstr(krait_error_message(err), "dpkg -x"));
    make_venv("venv", "usr", 12, NULL);
    assert_refused(at("venv"), KRAIT_E_NO_LIBPYTHON, "apt-get install libpython3.12", "dpkg -x libpython3.12_*.deb ",
                   at("venv/libpython"), NULL);
    make_folders(at(".pyenv/versions/"));
    assert_int_equal(rename(at("usr"), at(".pyenv/versions/3.12.1")), 0);
    assert_refused(at(".pyenv/versions/3.12.1"), KRAIT_E_NO_LIBPYTHON,
                   "PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force 3.12.1", NULL);
    assert_int_equal(rename(at(".pyenv"), at("tools")), 0); /* PYENV_ROOT may be anywhere */
    assert_refused(at("tools/versions/3.12.1"), KRAIT_E_NO_LIBPYTHON, "./configure --enable-shared", NULL);
    make_folders(at("tools/shims/"));
    assert_refused(at("tools/versions/3.12.1"), KRAIT_E_NO_LIBPYTHON, "pyenv install --force 3.12.1", NULL);
    make_folders(at("tools/versions/3.12.1/conda-meta/"));
    assert_refused(at("tools/versions/3.12.1"), KRAIT_E_NO_LIBPYTHON, "conda install --prefix ",
                   at("tools/versions/3.12.1 --force-reinstall python=3.12"), NULL);
}

/* ---- asking a child ---------------------------------------------------------------------------------------------- */

static void a_shim_is_asked_and_then_files_are_looked_at(void **state) {
    (void)state;
    install("a", 13, "");
    make_venv("venv", "a", 13, NULL);
    write_answer(at("shims/python3"), at("a/bin/python3.13"), "/ignored", "", "cpython", "python3.13");
    setenv("PATH", at("shims"), 1);
    assert_found(NULL);
    assert_true(place.probed);
    assert_string_equal(place.given, at("shims/python3"));
    assert_string_equal(place.executable, at("a/bin/python3.13"));
    assert_string_equal(place.base_prefix, at("a"));
    assert_string_equal(place.libpython, at("a/lib/libpython3.13.so.1.0"));
    assert_contains(steps.data, "so it was started (exit code 0)");
    write_answer(at("shims/python3"), at("venv/bin/python"), at("a"), at("a/lib/python3.13"), "cpython", "python3.13");
    assert_found(NULL);
    assert_string_equal(place.executable, at("venv/bin/python"));
    assert_string_equal(place.prefix, at("venv"));
}

static void a_layout_that_files_do_not_tell_is_taken_as_told(void **state) {
    (void)state;
    install("a", 13, "");
    write_stdlib(at("odd/place/of/modules"));
    write_library(at("odd/lib/libpython3.13.so.1.0"), "libpython3.13.so.1.0");
    write_answer(at("odd/run"), at("odd/run"), at("odd"), at("odd/place/of/modules"), "cpython", "python3.13");
    assert_found(at("odd/run"));
    assert_string_equal(place.executable, at("odd/run"));
    assert_string_equal(place.base_prefix, at("odd"));
    assert_string_equal(place.stdlib, at("odd/place/of/modules"));
    assert_int_equal(krait__place_check(&place, true, &err), KRAIT_OK);
    write_answer(at("odd/run"), at("odd/run"), at("odd"), "", "cpython", "python3.13");
    assert_refused(at("odd/run"), KRAIT_E_NO_PYTHON, "no lib/python3.13/os.py", NULL);
    write_library(at("odd/lib/libpython3.13t.so.1.0"), "libpython3.13t.so.1.0");
    write_answer(at("odd/run"), at("odd/run"), at("odd"), at("odd/place/of/modules"), "cpython", "python3.13t");
    assert_found(at("odd/run"));
    assert_string_equal(place.libpython, at("odd/lib/libpython3.13t.so.1.0"));
}

static void an_answer_that_is_no_use_is_refused(void **state) {
    (void)state;
    install("old", 8, "");
    write_answer(at("run"), at("old/bin/python3"), at("old"), "", "cpython", "python3.8");
    assert_refused(at("run"), KRAIT_E_PYTHON_VERSION, "this is Python 3.8", at("old/bin/python3.8"), NULL);
    write_answer(at("run"), at("run"), at("old"), "", "pypy", "python3.11");
    assert_refused(at("run"), KRAIT_E_NO_PYTHON, "this Python is pypy, krait needs CPython", NULL);
    write_answer(at("run"), "", at("old"), "", "cpython", "python3.12");
    assert_refused(at("run"), KRAIT_E_NO_PYTHON, "calls itself python3.12 at ''", NULL);
    write_answer(at("run"), at("run"), at("old"), "", "cpython", "snake");
    assert_refused(at("run"), KRAIT_E_NO_PYTHON, "calls itself snake", NULL);
    write_script(at("run"), "#!/bin/sh\necho python3: command not found >&2\nexit 127\n");
    assert_refused(at("run"), KRAIT_E_NO_PYTHON, "exit code 127", "it printed: python3: command not found", NULL);
    write_script(at("run"), "#!/bin/sh\nexit 0\n");
    assert_refused(at("run"), KRAIT_E_NO_PYTHON, "did not answer as a Python does", "it printed: nothing", NULL);
    write_script(at("run"), "#!/bin/sh\nprintf '\\036krait-probe\\036half\\036'; printf '\\036krait-end\\036'\n");
    assert_refused(at("run"), KRAIT_E_NO_PYTHON, "did not answer as a Python does", NULL);
    write_script(at("run"), "#!/no/such/interpreter\n");
    assert_refused(at("run"), KRAIT_E_NO_PYTHON, "cannot be started: No such file", NULL);
    write_file(at("run"), "", 0, 0755);
    assert_refused(at("run"), KRAIT_E_NO_PYTHON, "cannot be started: ", NULL);
}

/* The options the probe gives: no site, nothing of the environment. */
static void the_probe_is_isolated(void **state) {
    (void)state;
    write_script(at("run"), "#!/bin/sh\necho \"options: $1 $2 $3\"; exit 3\n");
    assert_refused(at("run"), KRAIT_E_NO_PYTHON, "options: -I -S -c", NULL);
}

static int run_script(const char *script, int64_t timeout_ms, krait__text *output) {
    write_script(at("script"), script);
    return krait__locate_run(at("script"), "pass", timeout_ms, output);
}

static const char mark[] = "printf '\\036krait-end\\036'\n";

static void a_run_gives_output_and_exit_code(void **state) {
    krait__text output = { 0 };
    (void)state;
    krait__text_addf(&output, "before ");
    assert_int_equal(run_script("#!/bin/sh\necho out; echo err >&2; echo \"$1 $2\"; exit 7\n", 5000, &output), 7);
    assert_string_equal(output.data, "before out\nerr\n-I -c\n");
    krait__text_free(&output);
    assert_int_equal(
        run_script("#!/bin/sh\necho done; printf '\\036krait-'; /bin/sleep 0.1; printf 'end\\036'\n", -1, &output), 0);
    assert_string_equal(output.data, "done\n");
    krait__text_free(&output);
    assert_int_equal(run_script("#!/bin/sh\nkill -9 $$\n", 5000, &output), 128 + SIGKILL);
    assert_int_equal(run_script("#!/bin/sh\n/bin/cat; exit 4\n", 5000, &output), 4); /* stdin has nothing */
    assert_int_equal(krait__locate_run(at("no such file"), "pass", 5000, &output), -1);
    assert_contains(output.data, "cannot be started: No such file");
    krait__text_free(&output);
}

static void count_alarm(int number) {
    (void)number;
}

static void a_run_outlasts_signals(void **state) {
    struct sigaction mine = { .sa_handler = count_alarm }; /* no SA_RESTART */
    struct itimerval timer = { { 0, 5000 }, { 0, 5000 } }, off = { { 0, 0 }, { 0, 0 } };
    krait__text      output = { 0 };
    int              code;
    (void)state;
    sigaction(SIGALRM, &mine, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    code = run_script("#!/bin/sh\n/bin/sleep 0.3; echo out; exit 6\n", 20000, &output);
    setitimer(ITIMER_REAL, &off, NULL);
    signal(SIGALRM, SIG_DFL);
    assert_int_equal(code, 6);
    assert_string_equal(output.data, "out\n");
    krait__text_free(&output);
}

static void a_run_is_ended_at_its_limit(void **state) {
    krait__text output = { 0 };
    int64_t     start = krait__os_now();
    (void)state;
    assert_int_equal(run_script("#!/bin/sh\necho begun; exec /bin/sleep 60\n", 200, &output), -1);
    assert_contains(output.data, "begun\n");
    assert_contains(output.data, "ended, since it took longer than 200 ms");
    krait__text_free(&output);
    assert_int_equal(run_script("#!/bin/sh\nexec >&- 2>&-\nexec /bin/sleep 60\n", 200, &output), -1);
    assert_int_equal(run_script("#!/bin/sh\nexec /bin/sleep 60\n", 0, &output), -1);
    assert_true(krait__os_now() - start < 5 * (int64_t)1000000000);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* reaped */
    krait__text_free(&output);
}

static void a_run_does_not_wait_for_what_its_child_leaves(void **state) {
    char        script[256], pid[16] = "";
    krait__text output = { 0 };
    int64_t     start = krait__os_now();
    int         code;
    FILE       *file;
    (void)state;
    snprintf(script, sizeof script, "#!/bin/sh\n/bin/sleep 60 &\necho $! >\"${0%%/*}/pid\"\n%s", mark);
    code = run_script(script, 50000, &output);
    start = krait__os_now() - start;
    file = fopen(at("pid"), "r");
    if (file && fgets(pid, sizeof pid, file) && atoi(pid) > 0) kill(atoi(pid), SIGKILL);
    if (file) fclose(file);
    assert_true(atoi(pid) > 0);
    assert_int_equal(code, 0);
    assert_true(start < 30 * (int64_t)1000000000);
    krait__text_free(&output);
}

static void output_is_bounded(void **state) {
    krait__text output = { 0 };
    (void)state;
    assert_int_equal(run_script("#!/bin/sh\n/usr/bin/head -c 5000000 /dev/zero; exit 5\n", 20000, &output), 5);
    assert_true(output.size >= KRAIT__CHILD_OUTPUT_MAX && output.size < KRAIT__CHILD_OUTPUT_MAX + 8192);
    krait__text_free(&output);
}

/* A host that ignores SIGCHLD has no exit codes: the end mark tells success. */
static void a_host_that_ignores_sigchld(void **state) {
    char        script[256];
    krait__text output = { 0 };
    int         good, bad;
    (void)state;
    install("a", 13, "");
    write_answer(at("shim"), at("a/bin/python3.13"), at("a"), "", "cpython", "python3.13");
    snprintf(script, sizeof script, "#!/bin/sh\n%s", mark);
    signal(SIGCHLD, SIG_IGN);
    good = run_script(script, 5000, &output);
    bad = run_script("#!/bin/sh\necho oh no; exit 7\n", 5000, &output);
    find(at("shim"));
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(good, 0);
    assert_int_equal(bad, -1);
    assert_contains(output.data, "oh no\n");
    assert_contains(output.data, "SIGCHLD");
    assert_null(err);
    assert_string_equal(place.executable, at("a/bin/python3.13"));
    krait__text_free(&output);
}

static void reap_every_child(int number) {
    int before = errno;
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    errno = before;
}

static void a_host_that_reaps_every_child(void **state) {
    struct sigaction mine = { .sa_handler = reap_every_child };
    (void)state;
    install("a", 13, "");
    write_answer(at("shim"), at("a/bin/python3.13"), at("a"), "", "cpython", "python3.13");
    sigaction(SIGCHLD, &mine, NULL); /* no SA_RESTART: calls are interrupted too */
    for (int i = 0; i < 20; i++) {
        krait_status status = find(at("shim"));
        if (status) signal(SIGCHLD, SIG_DFL);
        assert_int_equal(status, KRAIT_OK);
    }
    signal(SIGCHLD, SIG_DFL);
}

static void a_child_starts_with_plain_signals(void **state) {
    krait__text        output = { 0 };
    sigset_t           all, before;
    unsigned long long blocked = 1, ignored = 1;
    (void)state;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    run_script("#!/bin/sh\nexec /bin/grep -E 'SigBlk|SigIgn' /proc/self/status\n", 5000, &output);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(sscanf(output.data, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    assert_int_equal(blocked, 0);
    assert_int_equal(ignored & ~(uint64_t)0x180000000, 0); /* glibc keeps 32 and 33 to itself */
    krait__text_free(&output);
}

static size_t open_files(void) {
    size_t         count = 0;
    DIR           *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    while ((entry = readdir(dir))) count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void descriptors_neither_leak_nor_reach_the_child(void **state) {
    krait__text output = { 0 };
    size_t      before = open_files();
    (void)state;
    install("a", 13, "");
    run_script("#!/bin/sh\nexec /bin/ls -l /proc/self/fd\n", 5000, &output);
    assert_contains(output.data, "/dev/null");
    for (char *pipe = output.data; (pipe = strstr(pipe, "pipe:")); pipe += 5) /* only as 1 and 2 */
        assert_true(strstr(pipe - 8, "1 -> ") == pipe - 5 || strstr(pipe - 8, "2 -> ") == pipe - 5);
    for (int i = 0; i < 10; i++) {
        assert_found(at("a"));
        krait__locate_run(at("no such file"), "", 1000, &output);
    }
    assert_int_equal(open_files(), before);
    krait__text_free(&output);
}

static atomic_int streams_seen;

/* Another thread of the host may write to them meanwhile. */
static void *see_standard_streams(void *user) {
    usleep(150000);
    for (int fd = 0; fd < 3; fd++) atomic_fetch_add(&streams_seen, fcntl(fd, F_GETFD) != -1);
    return user;
}

/* The pipe must not become the host's missing standard streams, nor be lost when they are set up for the child. */
static void a_host_without_standard_streams(void **state) {
    int   code;
    pid_t pid;
    (void)state;
    write_script(at("script"), "#!/bin/sh\n/bin/sleep 0.3\nread line && exit 9\necho out; echo err >&2; exit 3\n");
    pid = fork();
    if (pid == 0) {
        krait__text output = { 0 };
        pthread_t   thread;
        close(0), close(1), close(2);
        if (pthread_create(&thread, NULL, see_standard_streams, NULL)) _exit(4);
        if (krait__locate_run(at("script"), "", 5000, &output) != 3) _exit(1);
        if (pthread_join(thread, NULL) || atomic_load(&streams_seen)) _exit(5);
        if (strcmp(output.data, "out\nerr\n") != 0) _exit(2);
        _exit(fcntl(0, F_GETFD) == -1 && fcntl(1, F_GETFD) == -1 && fcntl(2, F_GETFD) == -1 ? 0 : 3);
    }
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_int_equal(code, 0);
}

/* Told as what it is, not as a Python that is missing. */
static void a_host_without_free_descriptors(void **state) {
    int   code;
    pid_t pid;
    (void)state;
    install("a", 13, "");
    make_venv("venv", "a", 13, NULL);
    pid = fork();
    if (pid == 0) {
        struct rlimit limit = { 3, 3 };
        krait__text   output = { 0 };
        if (setrlimit(RLIMIT_NOFILE, &limit)) _exit(1);
        if (krait__locate_run(at("a/bin/python3"), "", 5000, &output) != -1) _exit(2);
        if (!strstr(output.data, "cannot be started: Too many open files")) _exit(3);
        if (krait__locate(at("venv"), &place, NULL, &err) != KRAIT_E_NO_PYTHON) _exit(4);
        _exit(strstr(krait_error_message(err), "pyvenv.cfg cannot be read: Too many open files") ? 0 : 5);
    }
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_int_equal(code, 0);
}

/* ---- is it whole? ------------------------------------------------------------------------------------------------ */

static krait_status check(bool use_environment) {
    krait_error_clear(&err);
    return krait__place_check(&place, use_environment, &err);
}

static void assert_lacking(bool use_environment, krait_status status, const char *part, const char *other) {
    assert_int_equal(check(use_environment), status);
    assert_int_equal(krait_error_status(err), status);
    assert_string_equal(krait_error_step(err), "locate");
    assert_contains(krait_error_message(err), part);
    assert_contains(krait_error_message(err), other);
    krait_error_clear(&err);
}

static void the_standard_library_must_be_whole(void **state) {
    (void)state;
    install("a", 12, "");
    assert_found(at("a"));
    assert_int_equal(check(true), KRAIT_OK);
    assert_int_equal(
        rename(at("a/lib/python3.12/encodings/__init__.py"), at("a/lib/python3.12/encodings/__init__.pyc")), 0);
    assert_int_equal(check(true), KRAIT_OK);
    unlink(at("a/lib/python3.12/encodings/__init__.pyc"));
    assert_lacking(true, KRAIT_E_NO_PYTHON, at("a/lib/python3.12 has no encodings/__init__.py"),
                   "install this Python again");
    unlink(at("a/lib/python3.12/os.py"));
    assert_lacking(true, KRAIT_E_NO_PYTHON, at("a/lib/python3.12 has no os.py"), "KRAIT_PYTHON");
    write_text(at("a/lib/python312.zip"), "");
    assert_found(at("a"));
    assert_int_equal(check(true), KRAIT_OK);
    unlink(at("a/lib/python312.zip"));
    assert_lacking(true, KRAIT_E_NO_PYTHON, "python312.zip has no", "is not whole");
}

static void pythonhome_must_name_a_home(void **state) {
    char text[3 * PATH_MAX];
    (void)state;
    install("a", 12, "");
    install("b", 12, "");
    install("wrong", 13, "");
    assert_found(at("a"));
    setenv("PYTHONHOME", "", 1);
    assert_int_equal(check(true), KRAIT_OK);
    setenv("PYTHONHOME", at("b"), 1);
    assert_int_equal(check(true), KRAIT_OK);
    setenv("PYTHONHOME", at("wrong"), 1);
    assert_int_equal(check(false), KRAIT_OK); /* isolated: Python will not read it */
    assert_lacking(true, KRAIT_E_NO_PYTHON, "PYTHONHOME is ", at("wrong/lib/python3.12 has no os.py"));
    assert_lacking(true, KRAIT_E_NO_PYTHON, "unset PYTHONHOME", "KRAIT_ISOLATED");
    snprintf(text, sizeof text, "%s:%s", at("b"), at("wrong"));
    setenv("PYTHONHOME", text, 1);
    assert_lacking(true, KRAIT_E_NO_PYTHON, at("wrong/lib/python3.12/lib-dynload is not there"), "unset PYTHONHOME");
    make_folders(at("wrong/lib/python3.12/lib-dynload/"));
    assert_int_equal(check(true), KRAIT_OK);
    setenv("PYTHONHOME", strchr(text, ':'), 1); /* no prefix before the colon */
    assert_lacking(true, KRAIT_E_NO_PYTHON, "PYTHONHOME is :", "unset PYTHONHOME");
    for (int minor = 11; minor < 40; minor++) { /* not even where /lib has one */
        snprintf(text, sizeof text, "/lib/python3.%d/os.py", minor);
        if (access(text, R_OK)) continue;
        place.minor = minor;
        make_folders(at("wrong/lib/python3.%d/lib-dynload/", minor));
        assert_lacking(true, KRAIT_E_NO_PYTHON, "PYTHONHOME is :", "unset PYTHONHOME");
    }
    place.minor = 12;
    write_text(at("zipped/lib/python312.zip"), "");
    setenv("PYTHONHOME", at("zipped"), 1);
    assert_int_equal(check(true), KRAIT_OK);
}

static void a_half_deleted_numpy_is_told(void **state) {
    (void)state;
    install("a", 12, "");
    make_venv("venv", "a", 12, NULL);
    assert_found(at("venv"));
    assert_int_equal(check(true), KRAIT_OK); /* absent: it may come from elsewhere */
    make_folders(at("venv/lib/python3.12/site-packages/numpy/core/"));
    assert_lacking(true, KRAIT_E_NO_NUMPY, at("venv/lib/python3.12/site-packages/numpy has no __init__.py"),
                   at("venv/bin/python -m pip install --force-reinstall numpy"));
    write_text(at("venv/lib/python3.12/site-packages/numpy/__init__.py"), "");
    assert_int_equal(check(true), KRAIT_OK);
}

/* ---- manners ----------------------------------------------------------------------------------------------------- */

static void errors_stick_and_may_be_unwanted(void **state) {
    (void)state;
    install("a", 12, "");
    assert_int_equal(krait__locate(at("nothing"), &place, NULL, NULL), KRAIT_E_NO_PYTHON);
    assert_null(place.executable);
    assert_int_equal(krait__locate(at("nothing"), &place, NULL, &err), KRAIT_E_NO_PYTHON);
    assert_int_equal(krait__locate(at("a"), &place, NULL, &err), KRAIT_E_NO_PYTHON);
    assert_null(place.executable);
    assert_int_equal(krait__place_check(&place, true, &err), KRAIT_E_NO_PYTHON);
    assert_int_equal(krait__locate(at("a"), &place, NULL, NULL), KRAIT_OK);
    unlink(at("a/lib/python3.12/os.py"));
    assert_int_equal(krait__place_check(&place, true, NULL), KRAIT_E_NO_PYTHON);
}

static void freeing_nothing_is_fine(void **state) {
    krait__place none = { 0 };
    (void)state;
    krait__place_free(NULL);
    krait__place_free(&none);
    install("a", 12, "");
    assert_found(at("a"));
    krait__place_free(&place);
    assert_null(place.libpython);
    krait__place_free(&place);
}

static void steps_tell_what_was_looked_at(void **state) {
    (void)state;
    install("a", 12, "");
    make_venv("venv", "a", 12, NULL);
    assert_found(at("venv"));
    assert_contains(steps.data, "krait_options.python: ");
    assert_contains(steps.data, at("venv/pyvenv.cfg: home "));
    assert_contains(steps.data, at("a/lib/python3.12: Python 3.12\n"));
    assert_contains(steps.data, at("a/lib/libpython3.12.so.1.0: the shared library\n"));
}

struct search_job {
    char path[PATH_MAX];
    int  minor, wrong;
};

static void *search_often(void *user) {
    struct search_job *job = user;
    for (int i = 0; i < 200; i++) {
        krait__place mine;
        if (krait__locate(job->path, &mine, NULL, NULL) || mine.minor != job->minor) job->wrong++;
        krait__place_free(&mine);
    }
    return NULL;
}

/* Its caller holds a lock, but a lock would not help against state that two searches share. */
static void searches_do_not_share_state(void **state) {
    struct search_job jobs[4];
    pthread_t         threads[4];
    (void)state;
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "a%d", i);
        install(name, 11 + i, "");
        snprintf(jobs[i].path, PATH_MAX, "%s", at("%s", name));
        jobs[i].minor = 11 + i;
        jobs[i].wrong = 0;
    }
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, search_often, &jobs[i]), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) assert_int_equal(jobs[i].wrong, 0);
}

#ifdef KRAIT_FAULTS
/* Fails each allocation in turn. What comes is out-of-memory, or what would have come anyway: a missing detail of a
 * message or of the steps is no reason to change the outcome. */
static void assert_survives(const char *python) {
    krait_status expected = find(python);
    uint64_t     n = 0;
    do {
        krait_status status;
        forget();
        krait__mem_fail_at(++n);
        status = krait__locate(python, &place, &steps, &err);
        if (status != KRAIT_E_NOMEM) assert_int_equal(status, expected);
        assert_int_equal(krait_error_status(err), status);
        if (status) assert_null(place.executable);
        if (status) assert_true(krait_error_message(err)[0] != 0);
        if (!status && krait__mem_count() >= n) assert_true(steps.failed);
        assert_true(n < 1000);
    } while (krait__mem_count() >= n);
    krait__mem_fail_at(0);
    assert_true(n > 3);
}

static void assert_check_survives(void) {
    krait_status expected = check(true);
    uint64_t     n = 0;
    do {
        krait_status status;
        krait_error_clear(&err);
        krait__mem_fail_at(++n);
        status = krait__place_check(&place, true, &err);
        assert_int_equal(status == KRAIT_E_NOMEM ? expected : status, expected);
        if (expected) assert_non_null(err);
    } while (krait__mem_count() >= n);
    krait__mem_fail_at(0);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    install("a", 12, "");
    install("old", 9, "");
    make_venv("venv", "a", 12, NULL);
    write_answer(at("shim"), at("a/bin/python3.12"), at("a"), "", "cpython", "python3.12");
    assert_survives(at("venv"));
    assert_survives(at("shim"));
    assert_survives(at("a/lib/libpython3.12.so.1.0"));
    assert_survives(NULL);
    setenv("PATH", at("old/bin"), 1);
    assert_survives(NULL);
    assert_found(at("a"));
    unlink(at("a/lib/python3.12/os.py"));
    assert_check_survives();
    install("a", 12, "");
    unlink(at("a/lib/libpython3.12.so.1.0"));
    assert_survives(at("venv"));
    unlink(at("a/bin/python3.12"));
    assert_survives(at("venv"));
}

/* Also the texts that collect a child's output. */
static void a_run_survives_failing_allocations(void **state) {
    uint64_t n = 0;
    (void)state;
    write_script(at("script"), "#!/bin/sh\necho out; exit 3\n");
    do {
        krait__text output = { 0 };
        int         code;
        krait__mem_fail_at(++n);
        code = krait__locate_run(at("script"), "pass", 5000, &output);
        assert_true(code == 3 || (code == -1 && output.failed));
        if (krait__mem_count() >= n) assert_true(output.failed);
        krait__text_free(&output);
    } while (krait__mem_count() >= n);
    krait__mem_fail_at(0);
    assert_true(n > 2);
}
#endif

/* ---- garbage ----------------------------------------------------------------------------------------------------- */

static uint32_t random_state;

/* xorshift32: the same garbage in every run. */
static uint32_t random_below(uint32_t limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % limit;
}

static void spoil(unsigned char *data, size_t size) {
    for (uint32_t i = random_below(8) + 1; i; i--)
        data[random_below((uint32_t)size)] = (unsigned char)random_below(256);
}

/* Whatever the status: it is one of those that searching has, and the error fits it. */
static void assert_sane(krait_status status) {
    assert_true(status == KRAIT_OK || status == KRAIT_E_NO_PYTHON || status == KRAIT_E_NO_LIBPYTHON ||
                status == KRAIT_E_PYTHON_VERSION);
}

static void any_pyvenv_cfg_is_survived(void **state) {
    char          whole[PATH_MAX + 64];
    unsigned char text[PATH_MAX + 64];
    size_t        length;
    int           found = 0;
    (void)state;
    random_state = 20240607;
    install("a", 12, "");
    make_venv("venv", "a", 12, NULL);
    length = (size_t)snprintf(whole, sizeof whole, "home = %s\r\nversion = 3.12.1\n version_info=3.12\n", at("a/bin"));
    for (int i = 0; i < 3000; i++) {
        size_t size = i % 3 ? length : random_below((uint32_t)length) + 1;
        memcpy(text, whole, size);
        spoil(text, size);
        write_file(at("venv/pyvenv.cfg"), text, size, 0644);
        assert_sane(find(at("venv/bin/python")));
        found += err == NULL;
    }
    assert_true(found > 100 && found < 2900); /* neither all nor nothing, else it was not garbage that was tried */
}

static void any_library_is_survived(void **state) {
    struct image  image;
    unsigned char data[sizeof image];
    int           found = 0;
    (void)state;
    random_state = 20240608;
    install("a", 12, "");
    for (int i = 0; i < 6000; i++) {
        size_t size = i % 4 ? sizeof image : random_below(sizeof image) + 1;
        image = make_image("libpython3.12.so.1.0");
        memcpy(data, &image, sizeof image);
        spoil(data, i % 2 ? size : size < 64 ? size : 64);
        write_file(at("a/lib/libpython3.12.so.1.0"), data, size, 0644);
        assert_sane(find(i & 8 ? at("a/lib/libpython3.12.so.1.0") : at("a")));
        found += err == NULL;
    }
    assert_true(found > 100 && found < 5900);
}

/* Numbers that are hard to add: each 8-byte word of the file in turn becomes one of these. */
static void offsets_at_the_limits_are_survived(void **state) {
    static const uint64_t limits[] = { 0,
                                       1,
                                       UINT64_MAX,
                                       UINT64_MAX - 7,
                                       INT64_MAX,
                                       (uint64_t)1 << 63,
                                       1 << 20,
                                       sizeof(struct image),
                                       sizeof(struct image) - 1 };
    unsigned char         data[sizeof(struct image)];
    struct image          image = make_image("libpython3.12.so.1.0");
    (void)state;
    install("a", 12, "");
    for (size_t word = 16; word + 8 <= sizeof image; word += 8)
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            memcpy(data, &image, sizeof image);
            memcpy(data + word, &limits[i], 8);
            write_file(at("a/lib/libpython3.12.so.1.0"), data, sizeof data, 0644);
            assert_sane(find(at("a")));
        }
}

static void any_answer_of_a_child_is_survived(void **state) {
    char script[1024] = "#!/bin/sh\nexec /bin/cat \"${0%/*}/answer\"\n";
    char whole[4 * PATH_MAX], text[4 * PATH_MAX];
    (void)state;
    random_state = 20240609;
    install("a", 12, "");
    write_script(at("run"), script);
    snprintf(whole, sizeof whole,
             "\x1ekrait-probe\x1e%s\x1e%s\x1e\x1e"
             "cpython\x1epython3.12\x1e\x1ekrait-end\x1e",
             at("a/bin/python3.12"), at("a"));
    write_text(at("answer"), whole);
    assert_found(at("run"));
    for (int i = 0; i < 200; i++) {
        size_t size = i % 3 ? strlen(whole) : random_below((uint32_t)strlen(whole)) + 1;
        memcpy(text, whole, size);
        spoil((unsigned char *)text, size);
        write_file(at("answer"), text, size, 0644);
        assert_sane(find(at("run")));
    }
}

/* ---- the Pythons of this machine --------------------------------------------------------------------------------- */

static const char *const facts_source =
    "import sys\n"
    "print(sys.prefix, sys.base_prefix, sys._stdlib_dir, sys.version_info[1], sep='\\n')\n";

/* Whether the library found is one of that version; in a child, since it stays loaded. */
static void assert_loads(void) {
    int   code;
    pid_t pid = fork();
    if (pid == 0) {
        void *library = dlopen(place.libpython, RTLD_NOW | RTLD_GLOBAL);
        void *symbol = library ? dlsym(library, "Py_GetVersion") : NULL;
        char  version[16];
        const char *(*get_version)(void);
        if (!symbol) _exit(1);
        memcpy(&get_version, &symbol, sizeof symbol);
        snprintf(version, sizeof version, "3.%d.", place.minor);
        _exit(strncmp(get_version(), version, strlen(version)) ? 2 : 0);
    }
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_int_equal(code, 0);
}

/* What was found is what that Python says of itself. */
static void assert_agrees(void) {
    krait__text output = { 0 };
    char        expected[4 * PATH_MAX];
    assert_int_equal(krait__locate_run(place.executable, facts_source, 20000, &output), 0);
    snprintf(expected, sizeof expected, "%s\n%s\n%s\n%d\n", place.prefix, place.base_prefix, place.stdlib, place.minor);
    assert_string_equal(output.data, expected);
    assert_int_equal(krait__place_check(&place, true, &err), KRAIT_OK);
    assert_loads();
    krait__text_free(&output);
}

/* A real venv of the Python just found. */
static void assert_venv_agrees(bool copies) {
    char        source[PATH_MAX + 256], base[PATH_MAX];
    krait__text output = { 0 };
    snprintf(base, sizeof base, "%s", place.base_prefix);
    snprintf(source, sizeof source, "import venv\nvenv.create('%s', with_pip=False, clear=True, symlinks=%s)\n",
             at("real"), copies ? "False" : "True");
    if (krait__locate_run(place.executable, source, 20000, &output)) fail_msg("no venv: %s", output.data);
    krait__text_free(&output);
    assert_found(at("real"));
    assert_string_equal(place.prefix, at("real"));
    assert_string_equal(place.base_prefix, base);
    assert_false(place.probed);
    assert_agrees();
}

/* An interpreter of this machine, new enough or not: found as it is, or refused for what it lacks. */
static bool try_real(const char *executable) {
    krait_status status = find(executable);
    char         original[PATH_MAX];
    if (status == KRAIT_E_PYTHON_VERSION) return false;
    if (status == KRAIT_E_NO_LIBPYTHON) {
        assert_contains(krait_error_message(err), "libpython3.");
        return false;
    }
    if (status) fail_msg("%s: %s", executable, krait_error_message(err));
    assert_agrees();
    snprintf(original, sizeof original, "%s", executable);
    assert_venv_agrees(false);
    assert_found(original);
    assert_venv_agrees(true);
    print_message("[          ] tried %s\n", original);
    return true;
}

static void the_pythons_of_this_machine_agree(void **state) {
    const char    *home = getenv("HOME");
    char           folder[PATH_MAX], file[PATH_MAX];
    struct dirent *entry;
    DIR           *dir;
    int            tried = 0;
    (void)state;
    if (!access("/usr/bin/python3", X_OK)) tried += try_real("/usr/bin/python3");
    if (!access("/usr/local/bin/python3", X_OK)) tried += try_real("/usr/local/bin/python3");
    snprintf(folder, sizeof folder, "%s/.pyenv/versions", home ? home : "/nonexistent");
    dir = opendir(folder);
    while (dir && (entry = readdir(dir))) {
        int length = snprintf(file, sizeof file, "%s/%s/bin/python3", folder, entry->d_name);
        if (entry->d_name[0] == '.' || length >= (int)sizeof file || access(file, X_OK)) continue;
        tried += try_real(file);
    }
    if (dir) closedir(dir);
    if (!tried) print_message("[          ] no Python with a libpython on this machine\n");
}

/* With the PATH as it was: a pyenv shim comes first on many machines. */
static void python3_on_the_real_path_agrees(void **state) {
    krait_status status;
    (void)state;
    setenv("PATH", first_path, 1);
    status = find(NULL);
    if (status) {
        assert_sane(status);
        return;
    }
    assert_string_equal(place.rule, "python3 on PATH");
    assert_agrees();
}

/* Real wrappers of whatever Python is here: in sh, and with another name in argv[0]. */
static void a_wrapper_of_a_real_python_is_probed(void **state) {
    char script[PATH_MAX + 64], base[PATH_MAX];
    (void)state;
    setenv("PATH", first_path, 1);
    if (find(NULL)) return;
    snprintf(base, sizeof base, "%s", place.base_prefix);
    snprintf(script, sizeof script, "#!/bin/sh\nexec '%s' \"$@\"\n", place.executable);
    write_script(at("wrapper"), script);
    assert_found(at("wrapper"));
    assert_true(place.probed);
    assert_string_equal(place.base_prefix, base);
    assert_agrees();
}

/* ---- a static program -------------------------------------------------------------------------------------------- */

static const char static_source[] = "#include <stdio.h>\n#include \"locate.h\"\n"
                                    "int main(void) {\n"
                                    "    krait__place place;\n    krait_error *err = NULL;\n"
                                    "    krait__locate(NULL, &place, NULL, &err);\n"
                                    "    puts(krait_error_message(err));\n"
                                    "    return -krait_error_status(err);\n}\n";

/* Builds one of the sources beside this file, with the C compiler that must be here since it built this test. */
static void a_static_program_is_refused(void **state) {
    char command[8 * PATH_MAX];
    int  code;
    (void)state;
    setenv("PATH", first_path, 1);
    write_text(at("static.c"), static_source);
    snprintf(command, sizeof command,
             "cd '%s' && ${CC:-cc} -std=c11 -D_GNU_SOURCE -static -w -Iinclude -Ilib '%s' lib/locate.c lib/os.c"
             " lib/mem.c lib/error.c -o '%s' -lm >'%s' 2>&1",
             tree, at("static.c"), at("static"), at("output"));
    if (system(command)) {
        print_message("[          ] no static libc, or no lib/locate.c in %s: a static program was not tried\n", tree);
        skip();
    }
    code = system(at("static >/dev/null"));
    assert_int_equal(WEXITSTATUS(code), -KRAIT_E_STATIC);
}

/* tests/unit/ of this file's path, as it was seen from where the program is started, is two folders below the tree. */
static void find_tree(void) {
    char path[PATH_MAX] = __FILE__;
    for (int i = 0; i < 3; i++) {
        char *slash = strrchr(path, '/');
        if (slash)
            *slash = 0;
        else
            snprintf(path, sizeof path, ".");
    }
    if (!realpath(path, tree)) snprintf(tree, sizeof tree, "/nonexistent");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TEST(the_first_rule_that_is_set_decides),
        TEST(empty_counts_as_unset),
        TEST(a_named_python_is_not_second_guessed),
        TEST(origin_is_the_folder_of_the_program),
        TEST(relative_paths_begin_in_the_current_folder),
        TEST(a_bare_name_is_looked_for_on_path),
        TEST(path_takes_the_first_executable_file),
        TEST(an_empty_entry_of_path_is_the_current_folder),
        TEST(without_path_the_standard_one_is_used),
        TEST(no_python3_on_path_names_what_else_is_there),
        TEST(the_first_python3_decides_even_when_too_old),
        TEST(a_path_too_long_is_refused),
        TEST(a_setuid_program_ignores_the_environment),
        TEST(an_executable_is_found_through_links),
        TEST(a_venv_is_found_by_folder_and_by_executable),
        TEST(pyvenv_cfg_may_lie_beside_the_executable),
        TEST(an_installation_is_found_by_its_folder),
        TEST(libraries_alone_are_enough),
        TEST(a_libpython_is_found_with_what_lies_around_it),
        TEST(a_libpython_unpacked_into_a_venv_serves_it),
        TEST(what_is_no_program_is_refused),
        TEST(pyvenv_cfg_is_read_as_python_reads_it),
        TEST(paths_may_be_utf8_or_bytes),
        TEST(a_huge_pyvenv_cfg_is_read_in_part),
        TEST(a_venv_of_copies_is_found_by_its_home),
        TEST(the_link_helps_where_the_home_does_not),
        TEST(a_venv_whose_home_is_gone),
        TEST(a_venv_without_its_python),
        TEST(a_venv_without_pyvenv_cfg),
        TEST(a_venv_of_another_version_than_its_base),
        TEST(an_unreadable_pyvenv_cfg_is_told),
        TEST(the_standard_library_may_lie_in_lib64_or_a_zip),
        TEST(the_prefix_is_found_from_deep_below),
        TEST(several_versions_are_told_apart_by_name),
        TEST(what_lies_beside_a_python_is_none),
        TEST(a_free_threaded_build_is_found_without_its_t),
        TEST(python_2_is_too_old),
        TEST(the_library_is_found_where_installations_keep_it),
        TEST(the_whole_name_comes_first),
        TEST(a_library_that_cannot_be_loaded_is_refused),
        TEST(a_library_of_another_version_is_refused),
        TEST(a_good_library_behind_an_unfit_one_is_found),
        TEST(the_cure_is_that_of_who_installed_it),
        TEST(a_shim_is_asked_and_then_files_are_looked_at),
        TEST(a_layout_that_files_do_not_tell_is_taken_as_told),
        TEST(an_answer_that_is_no_use_is_refused),
        TEST(the_probe_is_isolated),
        TEST(a_run_gives_output_and_exit_code),
        TEST(a_run_outlasts_signals),
        TEST(a_run_is_ended_at_its_limit),
        TEST(a_run_does_not_wait_for_what_its_child_leaves),
        TEST(output_is_bounded),
        TEST(a_host_that_ignores_sigchld),
        TEST(a_host_that_reaps_every_child),
        TEST(a_child_starts_with_plain_signals),
        TEST(descriptors_neither_leak_nor_reach_the_child),
        TEST(a_host_without_standard_streams),
        TEST(a_host_without_free_descriptors),
        TEST(the_standard_library_must_be_whole),
        TEST(pythonhome_must_name_a_home),
        TEST(a_half_deleted_numpy_is_told),
        TEST(errors_stick_and_may_be_unwanted),
        TEST(freeing_nothing_is_fine),
        TEST(steps_tell_what_was_looked_at),
        TEST(searches_do_not_share_state),
#ifdef KRAIT_FAULTS
        TEST(every_allocation_may_fail),
        TEST(a_run_survives_failing_allocations),
#endif
        TEST(any_pyvenv_cfg_is_survived),
        TEST(any_library_is_survived),
        TEST(offsets_at_the_limits_are_survived),
        TEST(any_answer_of_a_child_is_survived),
        TEST(the_pythons_of_this_machine_agree),
        TEST(python3_on_the_real_path_agrees),
        TEST(a_wrapper_of_a_real_python_is_probed),
        TEST(a_static_program_is_refused),
    };
    if (argc == 2 && !strcmp(argv[1], "secure")) _exit(run_secure()); /* no leak check: it cannot run setuid */
    snprintf(first_path, sizeof first_path, "%s", getenv("PATH") ? getenv("PATH") : "");
    find_tree();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
