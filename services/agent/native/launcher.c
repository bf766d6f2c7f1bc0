// The launcher: starts command tasks for the agent and supervises them. docs/adr/0006-native-launcher.md says why it is
// native; src/shell/process/launcher.ts is its only client.
//
// One launcher process reads start frames from the agent on its standard input. For each it forks a supervisor, which
// runs the command, obeys a control FIFO, kills what the command leaves behind and records how it ended. Supervisors
// need neither launcher nor agent: both may die and come back while tasks run.
//
//   launcher <run directory>     serve; prints "ready\n" once no earlier launcher of this directory is at work
//   launcher --init              the first process of a container with namespaces of its own, see below
//   launcher --enter             runs one command in a running container, see below
//   launcher --version           the sha256 of the source it was built from
//
// Frame (little endian): u32 length of what follows; u8 kind (1, start); u8 flags (1: switch user); u16 number of
// supplementary groups; u32 uid; u32 gid; u32 argc; u32 envc; u32 number of settings; u32 per group; then
// NUL-terminated strings: container id, control directory, sandbox, standard output, standard error (empty:
// /dev/null), file to execute, the settings, argv, envp. `setting_kinds` below says which settings there are.
//
// Events, one line each, on the FIFO <run directory>/events that the agent reads (times in ms since 1970):
//   @started <container id> <command pid> <supervisor pid> <time>
//   @exited <container id> <raw wait status> <none|term|escalated|kill> <time> [oom <limit> <most used>]
//   @failed <container id> <errno> <stage>
//   @lost <container id> <raw wait status of the supervisor>
// '@' and blanks are in no field, so a reader that starts in the middle of a line cannot mistake it for a whole one.
// An event without a reader is dropped: <control directory>/exit holds the same 'exited' or 'failed' line (without
// '@' and container id) and is renamed into place before the event is sent.
//
// Control, one line each, on the FIFO <control directory>/control, which has a reader exactly as long as the
// supervisor lives:
//   term <ms>    SIGTERM to the command's process group, SIGKILL when the grace has passed; a repeated one may only
//                shorten the grace
//   kill         SIGKILL to all of it
//   signal <n>   that signal to the process group
//   report       send the 'started' event again
//   pause        stop it, with the freezer if it has one, else with SIGSTOP; <control directory>/paused says so
//   resume       undo that; 'term' and 'kill' do so too
//   resize <rows> <columns>      of its terminal; what is to be typed there goes into <control directory>/stdin
//
// --init: the setting 'wrap' names a program (unshare, bwrap) that makes namespaces and executes this one in them, with
// the frame in descriptor 3 and a socket to the supervisor in descriptor 4. It applies the settings, starts the command
// and says on the socket: P (just before the command is executed; the kernel adds whose pid that is), S (executed),
// F <errno> <stage>, E <raw wait status>. Each byte that comes back is a signal for the command's process group.
//
// --enter: descriptor 3 brings the length and the frame, then control lines 'resize' and 'signal'; its end is the end of
// the command. Descriptor 4 is told 'started', then 'exited <raw wait status>'; or 'failed <errno> <stage>'. In a mount
// namespace of the container nothing is executed or written as root: its task may have chosen what lies where.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SOURCE_SHA256
#error "build with native/build.sh, which defines SOURCE_SHA256"
#endif

enum {
  MAX_CONTAINER_ID = 64,
  MAX_FRAME = 4 << 20, // more than the kernel takes for arguments and environment together
  MAX_STRINGS = 1 << 16,
  MAX_SETTING_WORDS = 5,
  READ_BYTES = 64 << 10,
  EVENT_PIPE_BYTES = 1 << 20,
  EVENT_WAIT_MS = 60000, // how long a supervisor waits on an agent that is alive but does not read
  GROUP_WAIT_MS = 5000, // how long it tries to remove what it made
  COPY_BYTES = 64 << 10,
  FRAME_FD = 3, // of --init and --enter
  REPORT_FD = 4,
  FRAMES_PER_REAP = 16,
  SUPERVISOR_BUCKETS = 1024,
};

#define FALLBACK_PATH "/usr/local/bin:/usr/bin:/bin"

enum setting_kind {
  MAKE_GROUP,
  WRITE,
  JOIN,
  OOM,
  FREEZER,
  LOG_LIMIT,
  TERMINAL,
  WRAP,
  BIND,
  SHARED_MEMORY,
  RESOURCE_LIMIT,
  CAPABILITIES,
  NO_NEW_PRIVILEGES,
  HOST_NAME,
  OUTER_NAMESPACE,
  NAMESPACE,
};

// Each is its name followed by so many strings; they take effect in the order in which they are needed.
static const struct {
  const char *name;
  int words;
} setting_kinds[] = {
  [MAKE_GROUP] = {"group", 1}, // directory of a control group, made before and removed after
  [WRITE] = {"write", 2}, // file, text: written after the groups are made
  [JOIN] = {"join", 1}, // cgroup.procs (of v1: tasks) of a group that the command enters
  [OOM] = {"oom", 4}, // files: counters; limit; most used; of v1: cgroup.event_control, else empty
  [FREEZER] = {"freezer", 3}, // file; what to write to freeze, to thaw
  [LOG_LIMIT] = {"log-limit", 1}, // bytes from which an output is renamed to <output>.1 and begun anew
  [TERMINAL] = {"terminal", 2}, // rows, columns: give it one, whose output goes to standard output
  [WRAP] = {"wrap", 1}, // once per argument, the first is what to execute
  [BIND] = {"bind", 3}, // ro or rw, source, target: mounted in its namespace
  [SHARED_MEMORY] = {"shm", 1}, // bytes of a /dev/shm of its own
  [RESOURCE_LIMIT] = {"rlimit", 3}, // number of the resource, soft, hard
  [CAPABILITIES] = {"capabilities", 2}, // effective, bounding: hexadecimal sets
  [NO_NEW_PRIVILEGES] = {"no-new-privileges", 0},
  [HOST_NAME] = {"hostname", 1}, // in a namespace of its own
  [OUTER_NAMESPACE] = {"outer-namespace", 1}, // file of one that --enter itself enters: of users, of processes
  [NAMESPACE] = {"namespace", 1}, // file of one that its command enters; that of mounts comes last
};

struct start {
  bool switch_user;
  uint32_t uid, gid, groups;
  const gid_t *group_list;
  char *container, *control_directory, *sandbox, *standard_output, *standard_error, *file;
  char **settings, **argv, **envp; // each ends with NULL; argv[-1] is free
  const unsigned char *frame;
  size_t frame_length;
};

struct setting {
  enum setting_kind kind;
  char **words;
};

struct supervisor {
  struct supervisor *next;
  pid_t pid;
  char container[MAX_CONTAINER_ID + 1];
};

enum delivery { HEARD, UNHEARD, FULL };

static char events_path[PATH_MAX];
static int events_fd = -1, lock_fd = -1, null_fd = -1;
static bool oom_protected; // the agent is spared by the OOM killer; its tasks must not be
static bool numbered_anew; // this process is in another namespace of processes than its /proc
static char self_path[PATH_MAX];
static char *title;
static size_t title_bytes;
static sigset_t only_child_signal; // the mask that lets everything but SIGCHLD wait
static struct supervisor *supervisors[SUPERVISOR_BUCKETS];

static void on_child(int signal_number) { (void)signal_number; } // its only use is to interrupt ppoll

static int64_t now_us(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

_Noreturn static void die(const char *what, const char *subject) {
  int error = errno;
  fprintf(stderr, "launcher: cannot %s '%s': %s\n", what, subject, strerror(error));
  exit(1);
}

// --- Settings -------------------------------------------------------------------------------------------------------

// False at their end, and with a kind of -1 for what is no setting.
static bool next_setting(char ***at, struct setting *setting) {
  if (**at == NULL) return false;
  setting->kind = -1;
  setting->words = *at + 1;
  for (size_t kind = 0; kind < sizeof setting_kinds / sizeof *setting_kinds; kind++) {
    if (strcmp(**at, setting_kinds[kind].name) == 0) setting->kind = kind;
  }
  int words = (int)setting->kind < 0 ? 0 : setting_kinds[setting->kind].words;
  for (int word = 0; word < words; word++) {
    if (setting->words[word] == NULL) setting->kind = -1, words = word;
  }
  *at += 1 + words;
  return true;
}

static char **find_setting(const struct start *start, enum setting_kind kind) {
  struct setting setting;
  for (char **at = start->settings; next_setting(&at, &setting);) {
    if (setting.kind == kind) return setting.words;
  }
  return NULL;
}

static bool write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t length = (ssize_t)strlen(text), written = write(fd, text, (size_t)length);
  int error = errno;
  close(fd);
  errno = error;
  return written == length;
}

static void read_text(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);
  if (fd >= 0) close(fd);
  text[length > 0 ? length : 0] = 0;
}

// --- Control groups -------------------------------------------------------------------------------------------------

// With those above it, should someone have cleaned up what was empty.
static bool make_group(const char *directory) {
  char above[PATH_MAX];
  if (mkdir(directory, 0755) == 0 || errno == EEXIST) return true;
  const char *slash = strrchr(directory, '/');
  if (errno != ENOENT || slash == NULL || slash == directory || slash - directory >= PATH_MAX) return false;
  snprintf(above, sizeof above, "%.*s", (int)(slash - directory), directory);
  return make_group(above) && (mkdir(directory, 0755) == 0 || errno == EEXIST);
}

// Done by the launcher, one after the other: supervisors that all want to change one directory would wait for each other.
// Looking a group up lets them find it later without the lock of that directory.
static bool make_groups(const struct start *start) {
  struct setting setting;
  for (char **at = start->settings; next_setting(&at, &setting);) {
    struct stat about;
    if (setting.kind == MAKE_GROUP && !make_group(setting.words[0])) return false;
    if (setting.kind == MAKE_GROUP && stat(setting.words[0], &about) != 0) return false;
    if (setting.kind == WRITE && !write_text(setting.words[0], setting.words[1])) return false;
  }
  return true;
}

static void kill_group(const char *directory) {
  char path[PATH_MAX + 16], line[32];
  snprintf(path, sizeof path, "%s/cgroup.procs", directory);
  FILE *list = fopen(path, "re");
  if (list == NULL) return;
  while (fgets(line, sizeof line, list) != NULL) {
    int pid = atoi(line);
    if (pid > 1) kill(pid, SIGKILL);
  }
  fclose(list);
}

// What is in them is killed: a command that was run in the container from outside is nobody's descendant here.
static void remove_groups(const struct start *start, int64_t wait_ms) {
  int64_t deadline = now_us(CLOCK_MONOTONIC) + wait_ms * 1000;
  for (int pause_ms = 1;; pause_ms = pause_ms < 100 ? pause_ms * 2 : 100) {
    bool busy = false;
    struct setting setting;
    for (char **at = start->settings; next_setting(&at, &setting);) {
      if (setting.kind != MAKE_GROUP || rmdir(setting.words[0]) == 0 || errno != EBUSY) continue;
      busy = true;
      kill_group(setting.words[0]);
    }
    if (!busy || now_us(CLOCK_MONOTONIC) >= deadline) return;
    poll(NULL, 0, pause_ms);
  }
}

// --- Events and records ---------------------------------------------------------------------------------------------

static enum delivery send_event(const char *line, size_t length, int64_t wait_ms) {
  int64_t deadline = now_us(CLOCK_MONOTONIC) + wait_ms * 1000;
  for (bool reopened = false;;) {
    if (events_fd < 0) events_fd = open(events_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (events_fd < 0) return UNHEARD;
    if (write(events_fd, line, length) == (ssize_t)length) return HEARD;
    if (errno == EPIPE && !reopened) { // perhaps the next agent reads a new FIFO under the same name
      close(events_fd);
      events_fd = -1;
      reopened = true;
      continue;
    }
    if (errno != EAGAIN) return UNHEARD;
    int64_t left_ms = (deadline - now_us(CLOCK_MONOTONIC)) / 1000;
    if (left_ms <= 0) return FULL;
    poll(&(struct pollfd){.fd = events_fd, .events = POLLOUT}, 1, (int)left_ms);
  }
}

static bool write_record(const char *directory, const char *line, size_t length) {
  char temporary[PATH_MAX + 16], path[PATH_MAX + 16];
  snprintf(temporary, sizeof temporary, "%s/exit.tmp", directory);
  snprintf(path, sizeof path, "%s/exit", directory);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  bool written = write(fd, line, length) == (ssize_t)length;
  int error = errno;
  if (close(fd) != 0 || !written) {
    if (!written) errno = error;
    return false;
  }
  return rename(temporary, path) == 0;
}

// Ends the supervisor once someone can know how the task ended: by the record, or if that cannot be written by the event.
_Noreturn static void conclude(const struct start *start, const char *kind, const char *rest) {
  char record[192], event[288];
  remove_groups(start, 0);
  int record_length = snprintf(record, sizeof record, "%s %s\n", kind, rest);
  int event_length = snprintf(event, sizeof event, "@%s %s %s\n", kind, start->container, rest);
  for (;;) {
    bool recorded = write_record(start->control_directory, record, (size_t)record_length);
    bool hopeless = !recorded && (errno == ENOENT || errno == ENOTDIR);
    enum delivery delivery = send_event(event, (size_t)event_length, EVENT_WAIT_MS);
    bool known = delivery == HEARD || (recorded && delivery == UNHEARD);
    if (known || recorded || hopeless) {
      remove_groups(start, GROUP_WAIT_MS);
      _exit(known ? 0 : 3); // 3: the launcher, if there still is one, says 'lost' and the agent looks
    }
    poll(NULL, 0, 1000);
  }
}

static void send_failed(const char *container, int error, const char *stage, int64_t wait_ms) {
  char event[256];
  int length = snprintf(event, sizeof event, "@failed %s %d %s\n", container, error, stage);
  send_event(event, (size_t)length, wait_ms);
}

_Noreturn static void conclude_failed(const struct start *start, int error, const char *stage) {
  char rest[64];
  snprintf(rest, sizeof rest, "%d %s", error, stage);
  conclude(start, "failed", rest);
}

// --- Killing what is left -------------------------------------------------------------------------------------------

// What a process that /proc has under a number is called here; 0: it is gone.
static pid_t own_number(pid_t number) {
  char path[64], line[512];
  pid_t own = 0;
  if (!numbered_anew) return number;
  snprintf(path, sizeof path, "/proc/%d/status", number);
  FILE *status = fopen(path, "re");
  if (status == NULL) return 0;
  while (own == 0 && fgets(line, sizeof line, status) != NULL) {
    if (strncmp(line, "NSpid:", 6) == 0) own = atoi(strrchr(line, '\t') + 1);
  }
  fclose(status);
  return own;
}

static void kill_tree_of(pid_t number) {
  pid_t child = own_number(number);
  if (child == 0) return;
  // The group goes at once and cannot fork its way out. No child of ours is ever in our own group: commands begin with
  // setsid, and a child is not reaped yet, so its group exists.
  pid_t group = getpgid(child);
  if (group > 1 && group != getpgrp()) kill(-group, SIGKILL);
  kill(child, SIGKILL);
}

// For kernels without /proc/<pid>/task/<tid>/children.
static int kill_children_by_scan(bool (*spare)(pid_t)) {
  char link[32] = "";
  pid_t self = readlink("/proc/self", link, sizeof link - 1) < 0 ? 0 : atoi(link);
  DIR *proc = self > 0 ? opendir("/proc") : NULL;
  if (proc == NULL) return 0;
  int found = 0;
  for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
    char path[64], text[512];
    int pid = atoi(entry->d_name), parent = 0;
    if (pid <= 0) continue;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length > 0 ? length : 0] = 0;
    char *after_name = strrchr(text, ')'); // ") <state> <parent> ..."
    if (after_name != NULL && strlen(after_name) > 4) parent = atoi(after_name + 4);
    if (parent != self || spare(pid)) continue;
    found++;
    kill_tree_of(pid);
  }
  closedir(proc);
  return found;
}

// Kills every child that is not spared. The list may miss one while others exit: ask again until there is none.
static int kill_children(bool (*spare)(pid_t)) {
  FILE *list = fopen("/proc/thread-self/children", "re");
  if (list == NULL) return kill_children_by_scan(spare);
  int found = 0;
  pid_t pid = 0;
  for (int c; (c = getc(list)) != EOF;) {
    if (c >= '0' && c <= '9') {
      pid = pid * 10 + (c - '0');
      continue;
    }
    if (pid != 0 && !spare(pid)) { // a blank ends each number
      found++;
      kill_tree_of(pid);
    }
    pid = 0;
  }
  fclose(list);
  return found;
}

static bool spare_none(pid_t pid) { return (void)pid, false; }

static void kill_all_descendants(void) {
  for (int64_t wait_ms = 10;; wait_ms = wait_ms < 500 ? wait_ms * 2 : 1000) {
    pid_t reaped;
    while ((reaped = waitpid(-1, NULL, WNOHANG)) > 0) continue;
    if (reaped < 0) return; // a subreaper without a child has no descendant
    kill_children(spare_none);
    struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    ppoll(NULL, 0, &wait, &only_child_signal);
  }
}

// --- The command, between clone and exec ----------------------------------------------------------------------------

struct attempt {
  const struct start *start;
  pid_t parent;
  bool wrapped; // execute what makes the namespaces, which executes --init
  bool inside; // this is --init: what is of the groups is done
  int socket_fd, frame_fd; // of what is wrapped; of --init only the first, else -1
  int error; // 0: the command was executed
  const char *stage;
};

_Noreturn static void give_up(struct attempt *attempt, const char *stage) {
  attempt->error = errno; // the parent shares this memory and waits
  attempt->stage = stage;
  _exit(127);
}

static void limit_resource(struct attempt *attempt, char **words) {
  struct rlimit limit = {.rlim_cur = strtoull(words[1], NULL, 10), .rlim_max = strtoull(words[2], NULL, 10)};
  if (setrlimit(atoi(words[0]), &limit) != 0) give_up(attempt, "rlimit");
}

// A set of the kernel's that a header of its own describes, which is not on every machine that builds this.
static bool set_capabilities(uint64_t set) {
  struct {
    uint32_t version;
    int pid;
  } head = {.version = 0x20080522};
  struct {
    uint32_t effective, permitted, inheritable;
  } halves[2];
  for (int half = 0; half < 2; half++) {
    uint32_t bits = (uint32_t)(set >> (32 * half));
    halves[half].effective = halves[half].permitted = halves[half].inheritable = bits;
  }
  if (syscall(SYS_capset, &head, halves) != 0) return false;
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int number = 0; number < 64; number++) {
    if (set >> number & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) != 0) return false;
  }
  return true;
}

static bool limit_bounding(uint64_t set) {
  for (int number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++) {
    if (!(set >> number & 1) && prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0) return false;
  }
  return true;
}

// Plain system calls: the library's versions would change the identity of every thread it knows of.
static void become_user(struct attempt *attempt, const struct start *start) {
  if (start->switch_user && (syscall(SYS_setgroups, (size_t)start->groups, start->group_list) != 0 ||
                             syscall(SYS_setresgid, start->gid, start->gid, start->gid) != 0 ||
                             syscall(SYS_setresuid, start->uid, start->uid, start->uid) != 0)) {
    give_up(attempt, "user");
  }
}

static void take_privileges(struct attempt *attempt, const struct start *start) {
  char **sets = find_setting(start, CAPABILITIES);
  if (sets == NULL) become_user(attempt, start);
  else {
    if (!limit_bounding(strtoull(sets[1], NULL, 16))) give_up(attempt, "capabilities");
    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0); // until it is executed
    become_user(attempt, start);
    if (!set_capabilities(strtoull(sets[0], NULL, 16))) give_up(attempt, "capabilities");
  }
  if (find_setting(start, NO_NEW_PRIVILEGES) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    give_up(attempt, "no_new_privileges");
  }
}

static void execute_one(const char *path, char **argv, char **envp) {
  execve(path, argv, envp);
  if (errno != ENOEXEC) return;
  argv[-1] = "/bin/sh"; // a script without '#!', as execvp does it
  argv[0] = (char *)path;
  execve("/bin/sh", argv - 1, envp);
}

static void execute(const char *file, char **argv, char **envp) {
  if (strchr(file, '/') != NULL || *file == 0) {
    execute_one(file, argv, envp);
    return;
  }
  const char *directories = FALLBACK_PATH;
  for (char **entry = envp; *entry != NULL; entry++) {
    if (strncmp(*entry, "PATH=", 5) == 0) directories = *entry + 5;
  }
  char path[PATH_MAX];
  bool denied = false;
  for (const char *from = directories, *to;; from = to + 1) {
    to = strchrnul(from, ':');
    int length = snprintf(path, sizeof path, "%.*s%s%s", (int)(to - from), from, to > from ? "/" : "", file);
    errno = ENAMETOOLONG;
    if (length < (int)sizeof path) execute_one(path, argv, envp);
    if (errno == EACCES) denied = true;
    else if (errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG) return;
    if (*to == 0) break;
  }
  errno = denied ? EACCES : ENOENT;
}

static void enter_groups(struct attempt *attempt, const struct start *start) {
  struct setting setting;
  for (char **at = start->settings; next_setting(&at, &setting);) {
    if (setting.kind == JOIN && !write_text(setting.words[0], "0")) give_up(attempt, "cgroup");
  }
  if (oom_protected && !write_text("/proc/self/oom_score_adj", "0")) give_up(attempt, "oom");
}

static void die_with_parent(struct attempt *attempt) {
  prctl(PR_SET_PDEATHSIG, SIGKILL); // after the switch of the user, which clears it
  if (getppid() != attempt->parent) _exit(127); // it died before that took effect
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

// Nothing of the task's environment reaches it: it may have more privileges than the task.
static void execute_wrapper(struct attempt *attempt, const struct start *start) {
  static char *arguments[64];
  static char *environment[] = {"PATH=" FALLBACK_PATH, NULL};
  int count = 0;
  struct setting setting;
  for (char **at = start->settings; next_setting(&at, &setting);) {
    if (setting.kind == WRAP && count < 60) arguments[count++] = setting.words[0];
  }
  arguments[count++] = self_path;
  arguments[count++] = "--init";
  arguments[count] = NULL;
  // Above what they are to become, so that neither takes the place of the other.
  int frame_fd = fcntl(attempt->frame_fd, F_DUPFD, 10), socket_fd = fcntl(attempt->socket_fd, F_DUPFD, 10);
  if (dup2(frame_fd, FRAME_FD) < 0 || dup2(socket_fd, REPORT_FD) < 0) give_up(attempt, "namespaces");
  close(frame_fd);
  close(socket_fd);
  die_with_parent(attempt);
  execve(arguments[0], arguments, environment);
  give_up(attempt, "namespaces");
}

static bool enter_namespaces(const struct start *start, enum setting_kind kind) {
  struct setting setting;
  for (char **at = start->settings; next_setting(&at, &setting);) {
    if (setting.kind != kind) continue;
    int fd = open(setting.words[0], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, 0) != 0) return false;
    close(fd);
  }
  return true;
}

static int run_command(void *argument) {
  struct attempt *attempt = argument;
  const struct start *start = attempt->start;
  if (setsid() < 0) give_up(attempt, "session");
  if (!attempt->inside) enter_groups(attempt, start);
  if (!attempt->inside && !enter_namespaces(start, NAMESPACE)) give_up(attempt, "namespaces");
  if (attempt->wrapped) execute_wrapper(attempt, start);
  if (find_setting(start, TERMINAL) && ioctl(STDIN_FILENO, TIOCSCTTY, 0) != 0) give_up(attempt, "terminal");
  struct setting setting;
  for (char **at = start->settings; next_setting(&at, &setting);) {
    if (setting.kind == RESOURCE_LIMIT) limit_resource(attempt, setting.words);
  }
  if (chdir(start->sandbox) != 0) give_up(attempt, "chdir");
  take_privileges(attempt, start);
  die_with_parent(attempt);
  if (attempt->inside && send(attempt->socket_fd, "P", 1, MSG_NOSIGNAL) != 1) _exit(127);
  execute(start->file, start->argv, start->envp);
  give_up(attempt, "exec");
}

// Shares memory with the command until it executes: cheaper than fork, and its errno arrives without a pipe.
static pid_t clone_command(struct attempt *attempt) {
  static char stack[64 << 10] __attribute__((aligned(16)));
  return clone(run_command, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, attempt);
}

// --- The supervisor -------------------------------------------------------------------------------------------------

enum stop { STOP_NONE, STOP_TERM, STOP_ESCALATED, STOP_KILL };

static const char *const stop_names[] = {"none", "term", "escalated", "kill"};

// What the command writes, or its terminal, on its way to a file.
struct stream {
  int from; // -1: it has ended, or the command writes to the file itself
  int to;
  const char *path;
  int64_t size, limit;
};

struct watch {
  const struct start *start;
  pid_t command; // not reaped as long as commands are obeyed, so the number is never another's
  int control_fd;
  enum stop stop;
  int64_t kill_at_us; // monotonic; 0: not set
  bool report_due;
  char line[64];
  size_t line_length;
  struct stream output, errors;
  int terminal_fd, typed_fd; // -1: it has none
  char typed[1024];
  size_t typed_length;
  int oom_fd; // -1: not told
  bool oom;
  // Of one that is wrapped: the socket to its --init, else -1; whether it has been executed; how it ended.
  int inside_fd;
  bool ready, failed, ended, inside_over;
  int ended_status;
  pid_t inside_pid;
  int failed_errno;
  char failed_stage[32];
};

static void set_title(const char *container) {
  memset(title, 0, title_bytes);
  snprintf(title, title_bytes, "task-supervisor %s", container);
}

static int open_log(const struct start *start, const char *path, const char *stage) {
  // A task that shares the sandbox must not turn this into a write elsewhere (link) or a wait (FIFO).
  int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  int fd = *path == 0 ? open("/dev/null", O_WRONLY | O_CLOEXEC) : open(path, flags, 0644);
  if (fd < 0) conclude_failed(start, errno, stage);
  if (!start->switch_user || *path == 0) return fd;
  struct stat about;
  if (fstat(fd, &about) != 0) conclude_failed(start, errno, stage);
  if (S_ISCHR(about.st_mode)) return fd;
  if (!S_ISREG(about.st_mode) || about.st_nlink != 1) conclude_failed(start, EPERM, stage);
  if (fchown(fd, start->uid, start->gid) != 0) conclude_failed(start, errno, stage);
  return fd;
}

static struct stream open_stream(const struct start *start, const char *path, const char *stage) {
  struct stream stream = {.from = -1, .to = open_log(start, path, stage), .path = path};
  char **limit = find_setting(start, LOG_LIMIT);
  stream.limit = limit == NULL || *path == 0 ? 0 : strtoll(limit[0], NULL, 10);
  struct stat about;
  if (stream.limit > 0 && fstat(stream.to, &about) == 0) stream.size = about.st_size;
  return stream;
}

// Without a bound the command writes to the file itself.
static void open_output(const struct start *start, int descriptor, struct stream *stream, const char *stage) {
  int ends[2];
  if (stream->limit <= 0) {
    dup2(stream->to, descriptor);
    close(stream->to);
    return;
  }
  if (pipe2(ends, O_CLOEXEC) != 0) conclude_failed(start, errno, stage);
  if (start->switch_user) (void)!fchown(ends[1], start->uid, start->gid); // so that it may open /dev/stdout
  dup2(ends[1], descriptor);
  close(ends[1]);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  stream->from = ends[0];
}

static void set_terminal_size(int fd, const char *rows, const char *columns) {
  struct winsize size = {.ws_row = (unsigned short)atoi(rows), .ws_col = (unsigned short)atoi(columns)};
  ioctl(fd, TIOCSWINSZ, &size);
}

// Makes a terminal and gives it to the command as all three descriptors. Returns its other side, or -1.
static int open_terminal(const struct start *start, char **size) {
  char name[64];
  int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 || grantpt(fd) != 0 || unlockpt(fd) != 0 || ptsname_r(fd, name, sizeof name) != 0) return -1;
  int side = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (side < 0) return -1;
  if (start->switch_user) (void)!fchown(side, start->uid, start->gid);
  set_terminal_size(fd, size[0], size[1]);
  for (int descriptor = 0; descriptor <= 2; descriptor++) dup2(side, descriptor);
  close(side);
  return fd;
}

static void open_terminal_of_task(struct watch *watch, char **size) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/stdin", watch->start->control_directory);
  watch->terminal_fd = open_terminal(watch->start, size);
  if (watch->terminal_fd < 0) conclude_failed(watch->start, errno, "terminal");
  if (mkfifo(path, 0600) == 0) watch->typed_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC); // no end of file
  if (watch->typed_fd < 0) conclude_failed(watch->start, errno, "stdin");
  watch->output.from = fcntl(watch->terminal_fd, F_DUPFD_CLOEXEC, 3);
}

static void open_descriptors(struct watch *watch) {
  const struct start *start = watch->start;
  char **size = find_setting(start, TERMINAL);
  watch->output = open_stream(start, start->standard_output, "stdout");
  if (size != NULL) {
    open_terminal_of_task(watch, size);
    return;
  }
  watch->errors = open_stream(start, start->standard_error, "stderr");
  dup2(null_fd, STDIN_FILENO);
  open_output(start, STDOUT_FILENO, &watch->output, "stdout");
  open_output(start, STDERR_FILENO, &watch->errors, "stderr");
}

// Renames the file and begins a new one. If that fails it grows on: better too much than nothing.
static void rotate(const struct start *start, struct stream *stream) {
  char old[PATH_MAX + 16];
  stream->size = 0;
  if (snprintf(old, sizeof old, "%s.1", stream->path) >= PATH_MAX || rename(stream->path, old) != 0) return;
  int flags = O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int fd = open(stream->path, flags, 0644);
  if (fd < 0) return;
  if (start->switch_user) (void)!fchown(fd, start->uid, start->gid);
  close(stream->to);
  stream->to = fd;
}

// Copies what is there. A disk without room loses what is written meanwhile: a task must not wait for it.
static bool copy(const struct start *start, struct stream *stream) {
  static char bytes[COPY_BYTES];
  if (stream->from < 0) return false;
  ssize_t count = read(stream->from, bytes, sizeof bytes);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (count <= 0) { // EIO: nobody has the terminal any more
    close(stream->from);
    stream->from = -1;
    return false;
  }
  if (stream->limit > 0 && stream->size > 0 && stream->size + count > stream->limit) rotate(start, stream);
  stream->size += count;
  for (ssize_t at = 0, written; at < count; at += written) {
    written = write(stream->to, bytes + at, (size_t)(count - at));
    if (written <= 0) break;
  }
  return true;
}

static void copy_typed(struct watch *watch) {
  if (watch->typed_fd < 0) return;
  if (watch->typed_length == 0) {
    ssize_t count = read(watch->typed_fd, watch->typed, sizeof watch->typed);
    if (count > 0) watch->typed_length = (size_t)count;
    if (count == 0) watch->typed_fd = -1; // nobody types any more
  }
  if (watch->typed_length == 0) return;
  ssize_t written = write(watch->terminal_fd, watch->typed, watch->typed_length);
  if (written <= 0 && errno == EAGAIN) return;
  if (written <= 0) written = (ssize_t)watch->typed_length; // nobody has the terminal any more
  watch->typed_length -= (size_t)written;
  memmove(watch->typed, watch->typed + written, watch->typed_length);
}

// The control FIFO also claims the directory: a second start in it fails and leaves the first one's record alone.
static int claim_directory(const struct start *start) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/control", start->control_directory);
  int fd = -1;
  if (mkfifo(path, 0600) == 0) fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC); // also to write: no end of file
  if (fd >= 0) return fd;
  send_failed(start->container, errno, "control", EVENT_WAIT_MS);
  _exit(0);
}

// The number after a command's name, or -1 when the line is another command or the number is not one.
static int64_t argument_of(const char *line, const char *name) {
  size_t length = strlen(name);
  if (strncmp(line, name, length) != 0 || line[length] != ' ') return -1;
  char *end;
  long long number = strtoll(line + length + 1, &end, 10); // too large: the largest there is
  return end == line + length + 1 || *end != 0 ? -1 : number;
}

static void signal_command(struct watch *watch, int number) {
  unsigned char byte = (unsigned char)number;
  if (watch->inside_fd < 0) kill(-watch->command, number);
  else if (watch->ready) send(watch->inside_fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// Of a wrapped one this is the group of its --init, which ends everything in the namespace.
static void kill_command(struct watch *watch) { kill(-watch->command, SIGKILL); }

static void pause_path(const struct start *start, char *path, size_t size) {
  snprintf(path, size, "%s/paused", start->control_directory);
}

static void pause_command(struct watch *watch) {
  char path[PATH_MAX + 16], **freezer = find_setting(watch->start, FREEZER);
  pause_path(watch->start, path, sizeof path);
  close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)); // before it is so: what is stopped is never unmarked
  if (freezer == NULL || !write_text(freezer[0], freezer[1])) signal_command(watch, SIGSTOP);
}

static void resume_command(struct watch *watch) {
  char path[PATH_MAX + 16], **freezer = find_setting(watch->start, FREEZER);
  pause_path(watch->start, path, sizeof path);
  if (access(path, F_OK) != 0) return;
  if (freezer == NULL || !write_text(freezer[0], freezer[2])) signal_command(watch, SIGCONT);
  unlink(path);
}

static void terminate(struct watch *watch, int64_t grace_ms) {
  if (watch->stop == STOP_NONE) signal_command(watch, SIGTERM);
  resume_command(watch);
  if (watch->stop > STOP_TERM) return;
  int64_t longest_ms = 1000LL * 60 * 60 * 24 * 365;
  int64_t at = now_us(CLOCK_MONOTONIC) + (grace_ms < longest_ms ? grace_ms : longest_ms) * 1000;
  if (watch->stop == STOP_NONE || at < watch->kill_at_us) watch->kill_at_us = at;
  watch->stop = STOP_TERM;
}

static void obey(struct watch *watch, const char *line) {
  int64_t grace_ms = argument_of(line, "term"), number = argument_of(line, "signal");
  char rows[8], columns[8];
  if (strcmp(line, "kill") == 0) {
    if (watch->stop < STOP_ESCALATED) watch->stop = STOP_KILL;
    kill_command(watch);
    resume_command(watch); // what is frozen dies when it is not any more
  } else if (grace_ms >= 0) terminate(watch, grace_ms);
  else if (number >= 1 && number <= 64) signal_command(watch, (int)number);
  else if (strcmp(line, "report") == 0) watch->report_due = true;
  else if (strcmp(line, "pause") == 0) pause_command(watch);
  else if (strcmp(line, "resume") == 0) resume_command(watch);
  else if (watch->terminal_fd >= 0 && sscanf(line, "resize %7s %7s", rows, columns) == 2) {
    set_terminal_size(watch->terminal_fd, rows, columns);
  }
}

static void take_control_lines(struct watch *watch, const char *bytes, ssize_t count) {
  for (ssize_t i = 0; i < count; i++) {
    if (bytes[i] == '\n') {
      bool whole = watch->line_length < sizeof watch->line;
      if (whole) watch->line[watch->line_length] = 0;
      if (whole) obey(watch, watch->line);
      watch->line_length = 0;
    } else if (watch->line_length < sizeof watch->line) {
      watch->line[watch->line_length] = bytes[i];
      watch->line_length++;
    }
  }
}

static void read_control(struct watch *watch) {
  char bytes[512];
  take_control_lines(watch, bytes, read(watch->control_fd, bytes, sizeof bytes));
}

// Reaps what has exited. When that is the command, first kills its group: while it is a zombie the number is its own.
static bool has_exited(pid_t command, int *status) {
  for (;;) {
    siginfo_t info;
    info.si_pid = 0;
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return false;
    if (info.si_pid != command) {
      waitpid(info.si_pid, NULL, 0);
      continue;
    }
    kill(-command, SIGKILL);
    waitpid(command, status, 0);
    return true;
  }
}

static void report_started(struct watch *watch, int64_t wait_ms) {
  static char event[256];
  static int length;
  if (length == 0) {
    int64_t time = now_us(CLOCK_REALTIME);
    length = snprintf(event, sizeof event, "@started %s %d %d %lld.%03lld\n", watch->start->container,
                      watch->inside_fd >= 0 ? watch->inside_pid : watch->command, getpid(), (long long)time / 1000,
                      (long long)time % 1000);
  }
  watch->report_due = send_event(event, (size_t)length, wait_ms) == FULL;
}

// What --init says.
static bool read_inside(struct watch *watch) {
  char text[64], control[CMSG_SPACE(3 * sizeof(int))] __attribute__((aligned(8)));
  struct iovec part = {text, sizeof text - 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t length = recvmsg(watch->inside_fd, &message, MSG_DONTWAIT);
  if (length <= 0) return false;
  text[length] = 0;
  struct cmsghdr *first = CMSG_FIRSTHDR(&message);
  if (*text == 'P' && first != NULL && first->cmsg_type == SCM_CREDENTIALS) {
    memcpy(&watch->inside_pid, CMSG_DATA(first), sizeof watch->inside_pid); // pid is the first of struct ucred
  } else if (*text == 'S') {
    watch->ready = watch->report_due = true;
    if (watch->stop == STOP_TERM) signal_command(watch, SIGTERM); // it came too early
  } else if (*text == 'F') {
    watch->failed = sscanf(text, "F %d %31s", &watch->failed_errno, watch->failed_stage) == 2;
  } else if (*text == 'E') {
    watch->ended = true;
    watch->ended_status = atoi(text + 1);
  }
  return true;
}

// The kernel tells when it is about to kill something in a group of version 1; with version 2 it kills all of it itself.
static void open_oom(struct watch *watch) {
  char **oom = find_setting(watch->start, OOM), text[32];
  if (oom == NULL || *oom[3] == 0) return;
  int counters_fd = open(oom[0], O_RDONLY | O_CLOEXEC);
  if (counters_fd < 0) return;
  watch->oom_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  snprintf(text, sizeof text, "%d %d", watch->oom_fd, counters_fd);
  if (watch->oom_fd >= 0 && !write_text(oom[3], text)) { // then its counter alone tells
    close(watch->oom_fd);
    watch->oom_fd = -1;
  }
  close(counters_fd);
}

static void on_oom(struct watch *watch) {
  uint64_t count;
  if (watch->oom_fd < 0 || read(watch->oom_fd, &count, sizeof count) != sizeof count) return;
  watch->oom = true;
  kill_command(watch);
}

static int64_t read_number(const char *path) {
  char text[64];
  read_text(path, text, sizeof text);
  return *text >= '0' && *text <= '9' ? strtoll(text, NULL, 10) : -1;
}

// Says of what was killed for its memory how much it might have used and has. Else leaves it empty.
static void describe_oom(const struct watch *watch, int status, char *text, size_t size) {
  char counters[512], **oom = find_setting(watch->start, OOM);
  *text = 0;
  if (oom == NULL || (status == 0 && !watch->oom)) return;
  read_text(oom[0], counters, sizeof counters);
  const char *kills = strstr(counters, "oom_kill ");
  if (!watch->oom && (kills == NULL || atoi(kills + strlen("oom_kill ")) == 0)) return;
  snprintf(text, size, " oom %lld %lld", (long long)read_number(oom[1]), (long long)read_number(oom[2]));
}

static void wait_for_something(struct watch *watch) {
  struct pollfd polled[] = {
    {.fd = watch->control_fd, .events = POLLIN},
    {.fd = watch->report_due && watch->ready ? events_fd : -1, .events = POLLOUT},
    {.fd = watch->output.from, .events = POLLIN},
    {.fd = watch->errors.from, .events = POLLIN},
    {.fd = watch->typed_length == 0 ? watch->typed_fd : watch->terminal_fd,
     .events = watch->typed_length == 0 ? POLLIN : POLLOUT},
    {.fd = watch->oom_fd, .events = POLLIN},
    {.fd = watch->inside_over ? -1 : watch->inside_fd, .events = POLLIN},
  };
  struct timespec wait;
  if (watch->kill_at_us != 0) {
    int64_t left_us = watch->kill_at_us - now_us(CLOCK_MONOTONIC);
    if (left_us < 0) left_us = 0;
    wait = (struct timespec){.tv_sec = left_us / 1000000, .tv_nsec = left_us % 1000000 * 1000};
  }
  ppoll(polled, sizeof polled / sizeof *polled, watch->kill_at_us != 0 ? &wait : NULL, &only_child_signal);
  if (polled[6].revents & POLLHUP) watch->inside_over = true; // or its end would wake us again and again
}

// Returns the raw wait status of the command.
static int watch_command(struct watch *watch) {
  int status;
  for (;;) {
    if (watch->report_due && watch->ready) report_started(watch, 0);
    wait_for_something(watch);
    while (watch->inside_fd >= 0 && read_inside(watch)) continue;
    read_control(watch); // before what is typed: a terminal is resized for what comes after
    copy(watch->start, &watch->output);
    copy(watch->start, &watch->errors);
    copy_typed(watch);
    on_oom(watch);
    if (has_exited(watch->command, &status)) break;
    if (watch->kill_at_us != 0 && now_us(CLOCK_MONOTONIC) >= watch->kill_at_us) {
      watch->kill_at_us = 0;
      if (watch->stop == STOP_TERM) watch->stop = STOP_ESCALATED;
      kill_command(watch);
    }
  }
  while (watch->inside_fd >= 0 && read_inside(watch)) continue;
  return watch->ended ? watch->ended_status : status;
}

// What --init reads: the frame without its length.
static int frame_file(const struct start *start) {
  int fd = memfd_create("frame", MFD_CLOEXEC);
  if (fd < 0 || write(fd, start->frame, start->frame_length) != (ssize_t)start->frame_length) return -1;
  return lseek(fd, 0, SEEK_SET) == 0 ? fd : -1;
}

// A wrapped command gets two more descriptors: its frame and a socket.
static pid_t start_command(struct watch *watch, struct attempt *attempt) {
  if (!attempt->wrapped) return clone_command(attempt);
  int ends[2], yes = 1, frame_fd = frame_file(watch->start);
  if (frame_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -1;
  setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes);
  attempt->frame_fd = frame_fd;
  attempt->socket_fd = ends[1];
  pid_t pid = clone_command(attempt);
  close(frame_fd);
  close(ends[1]);
  watch->inside_fd = ends[0];
  return pid;
}

_Noreturn static void supervise(struct start *start, int groups_error) {
  pid_t self = setsid();
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_NAME, "task-supervisor");
  set_title(start->container);
  static struct watch watch;
  watch = (struct watch){.start = start, .control_fd = claim_directory(start), .terminal_fd = -1, .typed_fd = -1};
  watch.output.from = watch.errors.from = watch.oom_fd = watch.inside_fd = -1;
  close(lock_fd); // from here on the next agent can find this task
  if (groups_error != 0) conclude_failed(start, groups_error, "cgroup");
  open_oom(&watch);
  open_descriptors(&watch);

  struct attempt attempt = {.start = start, .parent = self, .wrapped = find_setting(start, WRAP), .socket_fd = -1};
  watch.command = start_command(&watch, &attempt);
  if (watch.command < 0) conclude_failed(start, errno, "fork");
  if (attempt.error != 0) {
    waitpid(watch.command, NULL, 0);
    conclude_failed(start, attempt.error, attempt.stage);
  }
  dup2(null_fd, STDIN_FILENO); // only the command has them: so their end is seen
  dup2(null_fd, STDOUT_FILENO);
  dup2(null_fd, STDERR_FILENO);
  watch.ready = watch.report_due = !attempt.wrapped;

  int status = watch_command(&watch);
  int64_t time = now_us(CLOCK_REALTIME);
  resume_command(&watch);
  kill_all_descendants();
  while (copy(start, &watch.output)) continue;
  while (copy(start, &watch.errors)) continue;
  if (watch.failed) conclude_failed(start, watch.failed_errno, watch.failed_stage);
  if (!watch.ready && watch.stop == STOP_NONE && !watch.oom) conclude_failed(start, EPERM, "namespaces");
  if (watch.report_due && watch.ready) report_started(&watch, EVENT_WAIT_MS);
  char rest[160], oom[64];
  describe_oom(&watch, status, oom, sizeof oom);
  snprintf(rest, sizeof rest, "%d %s %lld.%03lld%s", status, stop_names[watch.stop], (long long)time / 1000,
           (long long)time % 1000, oom);
  conclude(start, "exited", rest);
}

// --- Frames ---------------------------------------------------------------------------------------------------------

struct cursor {
  unsigned char *at, *end;
};

_Noreturn static void malformed(const char *why) {
  fprintf(stderr, "launcher: malformed frame: %s; the agent and this launcher are not of one version\n", why);
  exit(2);
}

static uint32_t take_u32(struct cursor *cursor) {
  uint32_t value;
  if (cursor->end - cursor->at < (ssize_t)sizeof value) malformed("it ends within a number");
  memcpy(&value, cursor->at, sizeof value);
  cursor->at += sizeof value;
  return value;
}

static char *take_string(struct cursor *cursor) {
  unsigned char *nul = memchr(cursor->at, 0, (size_t)(cursor->end - cursor->at));
  if (nul == NULL) malformed("it ends within a string");
  char *string = (char *)cursor->at;
  cursor->at = nul + 1;
  return string;
}

static char **take_strings(struct cursor *cursor, uint32_t count, char **into) {
  for (uint32_t i = 0; i < count; i++) into[i] = take_string(cursor);
  into[count] = NULL;
  return into;
}

static void check_container(const char *container) {
  size_t length = strlen(container);
  if (length == 0 || length > MAX_CONTAINER_ID) malformed("a container id has 1 to 64 characters");
  for (const char *c = container; *c != 0; c++) {
    if (*c <= ' ' || *c > '~' || *c == '@') malformed("a container id has visible ASCII characters without '@'");
  }
}

static void check_settings(char **settings) {
  struct setting setting;
  while (next_setting(&settings, &setting)) {
    if ((int)setting.kind < 0) malformed("unknown setting");
  }
}

static void *grown(void *memory, size_t *capacity, size_t needed) {
  if (needed <= *capacity) return memory;
  memory = realloc(memory, needed);
  if (memory == NULL) die("make room for a frame of", "the agent");
  *capacity = needed;
  return memory;
}

// The result points into the frame and into tables that the next call reuses.
static struct start parse_start(unsigned char *frame, size_t length) {
  static gid_t *groups;
  static char **strings;
  static size_t groups_capacity, strings_capacity;
  struct cursor cursor = {frame, frame + length};
  struct start start = {.frame = frame, .frame_length = length};

  uint32_t head = take_u32(&cursor);
  if ((head & 0xff) != 1) malformed("unknown kind");
  start.switch_user = head >> 8 & 1;
  start.groups = head >> 16;
  start.uid = take_u32(&cursor);
  start.gid = take_u32(&cursor);
  uint32_t argc = take_u32(&cursor), envc = take_u32(&cursor), settings = take_u32(&cursor);
  if (argc < 1 || argc > MAX_STRINGS || envc > MAX_STRINGS || settings > MAX_STRINGS) malformed("too many strings");
  groups = grown(groups, &groups_capacity, start.groups * sizeof *groups);
  for (uint32_t i = 0; i < start.groups; i++) groups[i] = take_u32(&cursor);
  start.group_list = groups;

  start.container = take_string(&cursor);
  check_container(start.container);
  start.control_directory = take_string(&cursor);
  if (strlen(start.control_directory) >= PATH_MAX) malformed("the control directory's path is too long");
  start.sandbox = take_string(&cursor);
  start.standard_output = take_string(&cursor);
  start.standard_error = take_string(&cursor);
  start.file = take_string(&cursor);
  strings = grown(strings, &strings_capacity, ((size_t)argc + envc + settings + 4) * sizeof *strings);
  start.settings = take_strings(&cursor, settings, strings);
  check_settings(start.settings);
  start.argv = take_strings(&cursor, argc, strings + settings + 2);
  start.envp = take_strings(&cursor, envc, start.argv + argc + 1);
  if (cursor.at != cursor.end) malformed("it is longer than what it holds");
  return start;
}

// --- Inside a container ---------------------------------------------------------------------------------------------

static struct start read_frame_of(size_t length) {
  unsigned char *frame = malloc(length);
  if (frame == NULL) die("make room for a frame of", "the agent");
  for (size_t at = 0; at < length;) {
    ssize_t count = read(FRAME_FD, frame + at, length - at);
    if (count <= 0) malformed("it ends early");
    at += (size_t)count;
  }
  return parse_start(frame, length);
}

// Mounts of the task, in a mount namespace that is its own. Returns the stage that failed.
static const char *make_mounts(const struct start *start) {
  struct setting setting;
  for (char **at = start->settings; next_setting(&at, &setting);) {
    if (setting.kind == SHARED_MEMORY) {
      char options[64];
      snprintf(options, sizeof options, "mode=1777,size=%s", setting.words[0]);
      if (mount("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) != 0) return "shm";
    }
    if (setting.kind != BIND) continue;
    const char *target = setting.words[2];
    if (mount(setting.words[1], target, NULL, MS_BIND | MS_REC, NULL) != 0) return "volume";
    unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY;
    if (strcmp(setting.words[0], "ro") != 0) continue;
    if (mount(NULL, target, NULL, flags, NULL) == 0) continue;
    // What a user namespace may not undo has to be said again.
    if (mount(NULL, target, NULL, flags | MS_NOSUID | MS_NODEV, NULL) != 0) return "volume";
  }
  return NULL;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
  char text[64];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  (void)!write(REPORT_FD, text, (size_t)length);
}

static int init_container(void) {
  struct stat about;
  if (fstat(FRAME_FD, &about) != 0 || about.st_size < 1) malformed("there is none");
  fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
  fcntl(FRAME_FD, F_SETFD, FD_CLOEXEC);
  struct start start = read_frame_of((size_t)about.st_size);
  char **name = find_setting(&start, HOST_NAME);
  const char *stage = "hostname";
  if (name == NULL || sethostname(name[0], strlen(name[0])) == 0) stage = make_mounts(&start);
  if (stage != NULL) {
    say("F %d %s", errno, stage);
    return 0;
  }
  struct attempt attempt = {.start = &start, .parent = getpid(), .inside = true, .socket_fd = REPORT_FD};
  pid_t command = clone_command(&attempt);
  if (command < 0 || attempt.error != 0) {
    say("F %d %s", command < 0 ? errno : attempt.error, command < 0 ? "fork" : attempt.stage);
    return 0;
  }
  say("S");
  for (int status;;) {
    struct pollfd polled = {.fd = REPORT_FD, .events = POLLIN};
    unsigned char number;
    ppoll(&polled, 1, NULL, &only_child_signal);
    if (has_exited(command, &status)) {
      say("E %d", status);
      return 0; // and with the first process everything else in the namespace
    }
    ssize_t count = polled.revents == 0 ? -1 : recv(REPORT_FD, &number, 1, MSG_DONTWAIT);
    if (count == 1) kill(-command, number);
    if (count == 0) kill(-command, SIGKILL); // the supervisor is gone
  }
}

// Of --enter: what comes on descriptor 3 after the frame.
static void obey_client(struct watch *watch) {
  char bytes[256];
  ssize_t count = read(watch->control_fd, bytes, sizeof bytes);
  take_control_lines(watch, bytes, count);
  if (count != 0) return;
  kill(-watch->command, SIGKILL);
  watch->control_fd = -1; // what is frozen does not die at once: its end must not wake us again and again
}

// Goes on in the namespaces that a command can only be started in, and leaves another process to wait for it outside.
static bool enter_outer_namespaces(const struct start *start) {
  if (find_setting(start, OUTER_NAMESPACE) == NULL) return true;
  if (!enter_namespaces(start, OUTER_NAMESPACE)) return false;
  pid_t pid = fork();
  if (pid < 0) return false;
  if (pid > 0) {
    for (int fd = 0; fd <= REPORT_FD; fd++) dup2(null_fd, fd); // only the other has them: so their end is seen
    waitpid(pid, NULL, 0);
    _exit(0);
  }
  numbered_anew = true;
  prctl(PR_SET_CHILD_SUBREAPER, 1); // is not inherited
  return true;
}

static int enter_container(void) {
  uint32_t length;
  if (read(FRAME_FD, &length, 4) != 4 || length > MAX_FRAME) malformed("there is none");
  for (int fd = FRAME_FD; fd <= REPORT_FD; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
  struct start start = read_frame_of(length);
  fcntl(FRAME_FD, F_SETFL, O_NONBLOCK);
  if (!enter_outer_namespaces(&start)) {
    say("failed %d namespaces\n", errno);
    return 0;
  }
  static struct watch watch;
  watch = (struct watch){.start = &start, .control_fd = FRAME_FD, .terminal_fd = -1, .typed_fd = -1, .inside_fd = -1};
  watch.output.from = -1;
  char **size = find_setting(&start, TERMINAL);
  if (size != NULL) {
    watch.typed_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
    watch.output.to = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
    watch.terminal_fd = open_terminal(&start, size);
    watch.output.from = watch.terminal_fd < 0 ? -1 : fcntl(watch.terminal_fd, F_DUPFD_CLOEXEC, 10);
    fcntl(watch.typed_fd, F_SETFL, O_NONBLOCK);
  }
  struct attempt attempt = {.start = &start, .parent = getpid(), .socket_fd = -1};
  if (size != NULL && watch.terminal_fd < 0) attempt.error = errno, attempt.stage = "terminal";
  else watch.command = clone_command(&attempt);
  if (watch.command < 0) attempt.error = errno, attempt.stage = "fork";
  if (attempt.error != 0) {
    say("failed %d %s\n", attempt.error, attempt.stage);
    return 0;
  }
  say("started\n");
  for (int fd = 0; fd <= 2; fd++) dup2(null_fd, fd);
  for (int status;;) {
    struct pollfd polled[] = {
      {.fd = watch.control_fd, .events = POLLIN},
      {.fd = watch.output.from, .events = POLLIN},
      {.fd = watch.typed_length == 0 ? watch.typed_fd : watch.terminal_fd,
       .events = watch.typed_length == 0 ? POLLIN : POLLOUT},
    };
    ppoll(polled, 3, NULL, &only_child_signal);
    if (watch.control_fd >= 0) obey_client(&watch);
    copy_typed(&watch);
    copy(&start, &watch.output);
    if (!has_exited(watch.command, &status)) continue;
    kill_all_descendants();
    while (copy(&start, &watch.output)) continue;
    say("exited %d\n", status);
    return 0;
  }
}

// --- The launcher ---------------------------------------------------------------------------------------------------

static struct supervisor **find_supervisor(pid_t pid) {
  struct supervisor **link = &supervisors[(unsigned)pid % SUPERVISOR_BUCKETS];
  while (*link != NULL && (*link)->pid != pid) link = &(*link)->next;
  return link;
}

static bool is_supervisor(pid_t pid) { return *find_supervisor(pid) != NULL; }

static void start_supervisor(struct start *start) {
  struct supervisor *supervisor = malloc(sizeof *supervisor);
  int groups_error = make_groups(start) ? 0 : errno;
  pid_t pid = supervisor == NULL ? -1 : fork();
  if (pid == 0) supervise(start, groups_error);
  if (pid < 0) {
    send_failed(start->container, errno, "supervisor", INT_MAX);
    remove_groups(start, 0);
    free(supervisor);
    return;
  }
  supervisor->pid = pid;
  strcpy(supervisor->container, start->container);
  struct supervisor **link = find_supervisor(pid);
  supervisor->next = *link;
  *link = supervisor;
}

static void on_supervisor_exit(struct supervisor **link, int status) {
  struct supervisor *supervisor = *link;
  *link = supervisor->next;
  if (status != 0) {
    char event[256];
    int length = snprintf(event, sizeof event, "@lost %s %d\n", supervisor->container, status);
    send_event(event, (size_t)length, INT_MAX);
  }
  free(supervisor);
}

// What a lost supervisor leaves behind becomes a child of the launcher, which kills it.
static bool orphans_left;

static void reap(void) {
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    struct supervisor **link = find_supervisor(pid);
    if (*link == NULL || status != 0) orphans_left = kill_children(is_supervisor) > 0;
    if (*link != NULL) on_supervisor_exit(link, status);
  }
  if (orphans_left) orphans_left = kill_children(is_supervisor) > 0;
}

struct buffer {
  unsigned char *bytes;
  size_t capacity, used;
};

// Starts what is complete and leaves room for the frame that is not.
static void handle_frames(struct buffer *buffer) {
  size_t at = 0, needed = READ_BYTES;
  for (int handled = 1; buffer->used - at >= 4; handled++) {
    uint32_t length;
    memcpy(&length, buffer->bytes + at, 4);
    if (length > MAX_FRAME) malformed("it is too long");
    if (buffer->used - at - 4 < length) {
      if (length + 4 > needed) needed = length + 4;
      break;
    }
    struct start start = parse_start(buffer->bytes + at + 4, length);
    start_supervisor(&start);
    at += length + 4;
    if (handled % FRAMES_PER_REAP == 0) reap();
  }
  memmove(buffer->bytes, buffer->bytes + at, buffer->used - at);
  buffer->used -= at;
  if (needed == buffer->capacity) return;
  unsigned char *bytes = realloc(buffer->bytes, needed);
  if (bytes == NULL) die("make room for a frame of", "the agent");
  buffer->bytes = bytes;
  buffer->capacity = needed;
}

// Here once for all supervisors to come; possible only when the agent has the FIFO open.
static void open_events(void) {
  if (events_fd >= 0) return;
  events_fd = open(events_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (events_fd >= 0) fcntl(events_fd, F_SETPIPE_SZ, EVENT_PIPE_BYTES); // refused: supervisors wait a little more
}

static int serve(void) {
  sigset_t waiting = only_child_signal;
  sigdelset(&waiting, SIGTERM);
  struct buffer buffer = {.bytes = malloc(READ_BYTES), .capacity = READ_BYTES};
  if (buffer.bytes == NULL) die("make room for frames of", "the agent");
  for (;;) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    struct timespec soon = {.tv_nsec = 100000000};
    int ready = ppoll(&input, 1, orphans_left ? &soon : NULL, &waiting);
    reap();
    if (ready <= 0) continue;
    ssize_t count = read(STDIN_FILENO, buffer.bytes + buffer.used, buffer.capacity - buffer.used);
    if (count <= 0) return 0; // the agent is gone; supervisors go on
    buffer.used += (size_t)count;
    open_events();
    handle_frames(&buffer);
  }
}

static void close_inherited(void) {
  if (syscall(SYS_close_range, 3U, ~0U, 0U) == 0) return;
  long most = sysconf(_SC_OPEN_MAX);
  for (int fd = 3; fd < (most > 0 && most < 1 << 20 ? most : 1 << 20); fd++) close(fd);
}

// All dispositions are the default and everything is blocked, here and in supervisors, except while they wait: so
// SIGINT and SIGHUP do nothing, and a command gets a clean start with one system call.
static void set_signals(void) {
  for (int number = 1; number <= 64; number++) signal(number, SIG_DFL);
  sigaction(SIGCHLD, &(struct sigaction){.sa_handler = on_child}, NULL);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  only_child_signal = all;
  sigdelset(&only_child_signal, SIGCHLD);
}

static bool is_oom_protected(void) {
  char text[16] = "";
  int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool protected = read(fd, text, sizeof text - 1) > 0 && text[0] == '-';
  close(fd);
  return protected;
}

// Held by a launcher and by each supervisor until its control FIFO exists. So whoever gets it finds every task that an
// earlier launcher started or ever will.
static void take_lock(const char *run_directory) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/launcher.lock", run_directory);
  lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd < 0) die("open the lock", path);
  if (flock(lock_fd, LOCK_EX) != 0) die("lock", path);
}

static void make_events_fifo(const char *run_directory) {
  int length = snprintf(events_path, sizeof events_path, "%s/events", run_directory);
  errno = ENAMETOOLONG;
  if (length >= (int)sizeof events_path) die("use the run directory", run_directory);
  if (mkfifo(events_path, 0600) != 0 && errno != EEXIST) die("make the FIFO", events_path);
}

// Of --init and --enter, which begin with descriptors that are meant for them.
static int run_inside(int (*run)(void)) {
  null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_fd < 0) die("open", "/dev/null");
  umask(022);
  oom_protected = is_oom_protected();
  prctl(PR_SET_NAME, "task-init");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  set_signals();
  return run();
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts(SOURCE_SHA256) < 0;
  if (argc == 2 && strcmp(argv[1], "--init") == 0) return run_inside(init_container);
  if (argc == 2 && strcmp(argv[1], "--enter") == 0) return run_inside(enter_container);
  if (argc != 2) {
    fputs("usage: launcher <run directory>, with frames on standard input (see launcher.c)\n", stderr);
    return 2;
  }
  static char run_directory[PATH_MAX];
  if (realpath(argv[1], run_directory) == NULL) die("use the run directory", argv[1]);
  if (readlink("/proc/self/exe", self_path, sizeof self_path - 1) < 0) die("find", "/proc/self/exe");
  title = argv[0];
  title_bytes = (size_t)(argv[1] + strlen(argv[1]) - title);

  close_inherited();
  umask(022);
  prctl(PR_SET_NAME, "task-launcher");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_fd < 0) die("open", "/dev/null");
  if (chdir("/") != 0) die("enter", "/");
  oom_protected = is_oom_protected();
  take_lock(run_directory);
  set_signals();
  make_events_fifo(run_directory);
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) return 0; // the agent died meanwhile
  dup2(null_fd, STDOUT_FILENO);
  return serve();
}
