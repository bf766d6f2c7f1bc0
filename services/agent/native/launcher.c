// The launcher: starts command tasks for the agent and supervises them. docs/adr/0006-native-launcher.md says why it is
// native; src/shell/launcher.ts is its only client.
//
// One launcher process reads start frames from the agent on its standard input. For each it forks a supervisor, which
// runs the command, obeys a control FIFO, kills what the command leaves behind and records how it ended. Supervisors
// need neither launcher nor agent: both may die and come back while tasks run.
//
//   launcher <run directory>     serve; prints "ready\n" once no earlier launcher of this directory is at work
//   launcher --version           the sha256 of the source it was built from
//
// Frame (little endian): u32 length of what follows; u8 kind (1, start); u8 flags (1: switch user); u16 number of
// supplementary groups; u32 uid; u32 gid; u32 argc; u32 envc; u32 number of cgroup files; u32 per group; then
// NUL-terminated strings: container id, control directory, sandbox, standard output, standard error (empty:
// /dev/null), file to execute, the cgroup files, argv, envp.
//
// Events, one line each, on the FIFO <run directory>/events that the agent reads (times in ms since 1970):
//   @started <container id> <command pid> <supervisor pid> <time>
//   @exited <container id> <raw wait status> <none|term|escalated|kill> <time>
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
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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
  READ_BYTES = 64 << 10,
  EVENT_PIPE_BYTES = 1 << 20,
  EVENT_WAIT_MS = 60000, // how long a supervisor waits on an agent that is alive but does not read
  FRAMES_PER_REAP = 16,
  SUPERVISOR_BUCKETS = 1024,
};

#define FALLBACK_PATH "/usr/local/bin:/usr/bin:/bin"

struct start {
  bool switch_user;
  uint32_t uid, gid, groups;
  const gid_t *group_list;
  char *container, *control_directory, *sandbox, *standard_output, *standard_error, *file;
  char **cgroups, **argv, **envp; // each ends with NULL; argv[-1] is free
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
  char record[160], event[256];
  int record_length = snprintf(record, sizeof record, "%s %s\n", kind, rest);
  int event_length = snprintf(event, sizeof event, "@%s %s %s\n", kind, start->container, rest);
  for (;;) {
    bool recorded = write_record(start->control_directory, record, (size_t)record_length);
    bool hopeless = !recorded && (errno == ENOENT || errno == ENOTDIR);
    enum delivery delivery = send_event(event, (size_t)event_length, EVENT_WAIT_MS);
    if (delivery == HEARD || (recorded && delivery == UNHEARD)) _exit(0);
    if (recorded || hopeless) _exit(3); // the launcher, if there still is one, says 'lost' and the agent looks
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

static void kill_tree_of(pid_t child) {
  // The group goes at once and cannot fork its way out. No child of ours is ever in our own group: commands begin with
  // setsid, and a child is not reaped yet, so its group exists.
  pid_t group = getpgid(child);
  if (group > 1 && group != getpgrp()) kill(-group, SIGKILL);
  kill(child, SIGKILL);
}

// For kernels without /proc/<pid>/task/<tid>/children.
static int kill_children_by_scan(bool (*spare)(pid_t)) {
  DIR *proc = opendir("/proc");
  if (proc == NULL) return 0;
  int found = 0;
  pid_t self = getpid();
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
  pid_t supervisor;
  int error; // 0: the command was executed
  const char *stage;
};

_Noreturn static void give_up(struct attempt *attempt, const char *stage) {
  attempt->error = errno; // the supervisor shares this memory and waits
  attempt->stage = stage;
  _exit(127);
}

static void write_to(struct attempt *attempt, const char *path, const char *stage) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "0", 1) != 1) give_up(attempt, stage);
  close(fd);
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

static int run_command(void *argument) {
  struct attempt *attempt = argument;
  const struct start *start = attempt->start;
  if (setsid() < 0) give_up(attempt, "session");
  for (char **file = start->cgroups; *file != NULL; file++) write_to(attempt, *file, "cgroup");
  if (oom_protected) write_to(attempt, "/proc/self/oom_score_adj", "oom");
  if (chdir(start->sandbox) != 0) give_up(attempt, "chdir");
  // Plain system calls: the library's versions would change the identity of every thread it knows of.
  if (start->switch_user && (syscall(SYS_setgroups, (size_t)start->groups, start->group_list) != 0 ||
                             syscall(SYS_setresgid, start->gid, start->gid, start->gid) != 0 ||
                             syscall(SYS_setresuid, start->uid, start->uid, start->uid) != 0)) {
    give_up(attempt, "user");
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL); // after the switch, which clears it
  if (getppid() != attempt->supervisor) _exit(127); // it died before that took effect
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
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

struct watch {
  pid_t command; // not reaped as long as commands are obeyed, so the number is never another's
  int control_fd;
  enum stop stop;
  int64_t kill_at_us; // monotonic; 0: not set
  bool report_due;
  char line[64];
  size_t line_length;
};

static void set_title(const char *container) {
  memset(title, 0, title_bytes);
  snprintf(title, title_bytes, "task-supervisor %s", container);
}

// Takes the lowest free descriptor, so after close(1) it becomes standard output, and the command inherits it.
static void open_output(const struct start *start, int descriptor, const char *path, const char *stage) {
  close(descriptor);
  // A task that shares the sandbox must not turn this into a write elsewhere (link) or a wait (FIFO).
  int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  int fd = *path == 0 ? open("/dev/null", O_WRONLY) : open(path, flags, 0644);
  if (fd < 0) conclude_failed(start, errno, stage);
  if (!start->switch_user || *path == 0) return;
  struct stat about;
  if (fstat(fd, &about) != 0) conclude_failed(start, errno, stage);
  if (S_ISCHR(about.st_mode)) return;
  if (!S_ISREG(about.st_mode) || about.st_nlink != 1) conclude_failed(start, EPERM, stage);
  if (fchown(fd, start->uid, start->gid) != 0) conclude_failed(start, errno, stage);
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

static void obey(struct watch *watch, const char *line) {
  int64_t grace_ms = argument_of(line, "term"), number = argument_of(line, "signal");
  if (strcmp(line, "kill") == 0) {
    if (watch->stop < STOP_ESCALATED) watch->stop = STOP_KILL;
    kill(-watch->command, SIGKILL);
  } else if (grace_ms >= 0) {
    if (watch->stop == STOP_NONE) kill(-watch->command, SIGTERM);
    if (watch->stop <= STOP_TERM) {
      int64_t longest_ms = 1000LL * 60 * 60 * 24 * 365;
      int64_t at = now_us(CLOCK_MONOTONIC) + (grace_ms < longest_ms ? grace_ms : longest_ms) * 1000;
      if (watch->stop == STOP_NONE || at < watch->kill_at_us) watch->kill_at_us = at;
      watch->stop = STOP_TERM;
    }
  } else if (number >= 1 && number <= 64) {
    kill(-watch->command, (int)number);
  } else if (strcmp(line, "report") == 0) {
    watch->report_due = true;
  }
}

static void read_control(struct watch *watch) {
  char bytes[512];
  ssize_t count = read(watch->control_fd, bytes, sizeof bytes);
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

// Reaps what has exited. When that is the command, first kills its group: while it is a zombie the number is its own.
static bool command_exited(struct watch *watch, int *status) {
  for (;;) {
    siginfo_t info;
    info.si_pid = 0;
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return false;
    if (info.si_pid != watch->command) {
      waitpid(info.si_pid, NULL, 0);
      continue;
    }
    kill(-watch->command, SIGKILL);
    waitpid(watch->command, status, 0);
    return true;
  }
}

static void report_started(struct watch *watch, const char *event, int64_t wait_ms) {
  watch->report_due = send_event(event, strlen(event), wait_ms) == FULL;
}

static void wait_for_something(struct watch *watch) {
  struct pollfd polled[] = {
    {.fd = watch->control_fd, .events = POLLIN},
    {.fd = watch->report_due ? events_fd : -1, .events = POLLOUT},
  };
  struct timespec wait;
  if (watch->kill_at_us != 0) {
    int64_t left_us = watch->kill_at_us - now_us(CLOCK_MONOTONIC);
    if (left_us < 0) left_us = 0;
    wait = (struct timespec){.tv_sec = left_us / 1000000, .tv_nsec = left_us % 1000000 * 1000};
  }
  ppoll(polled, 2, watch->kill_at_us != 0 ? &wait : NULL, &only_child_signal);
}

// Returns the raw wait status of the command.
static int watch_command(struct watch *watch, const char *started) {
  int status;
  for (;;) {
    if (watch->report_due) report_started(watch, started, 0);
    wait_for_something(watch);
    if (command_exited(watch, &status)) return status;
    read_control(watch);
    if (watch->kill_at_us != 0 && now_us(CLOCK_MONOTONIC) >= watch->kill_at_us) {
      watch->kill_at_us = 0;
      if (watch->stop == STOP_TERM) watch->stop = STOP_ESCALATED;
      kill(-watch->command, SIGKILL);
    }
  }
}

_Noreturn static void supervise(struct start *start) {
  pid_t self = setsid();
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_NAME, "task-supervisor");
  set_title(start->container);
  dup2(null_fd, STDIN_FILENO);
  struct watch watch = {.control_fd = claim_directory(start), .report_due = true};
  close(lock_fd); // from here on the next agent can find this task
  open_output(start, STDOUT_FILENO, start->standard_output, "stdout");
  open_output(start, STDERR_FILENO, start->standard_error, "stderr");

  struct attempt attempt = {.start = start, .supervisor = self};
  watch.command = clone_command(&attempt);
  int64_t time = now_us(CLOCK_REALTIME);
  if (watch.command < 0) conclude_failed(start, errno, "fork");
  if (attempt.error != 0) {
    waitpid(watch.command, NULL, 0);
    conclude_failed(start, attempt.error, attempt.stage);
  }

  char started[256], rest[96];
  snprintf(started, sizeof started, "@started %s %d %d %lld.%03lld\n", start->container, watch.command, self,
           (long long)time / 1000, (long long)time % 1000);
  int status = watch_command(&watch, started);
  time = now_us(CLOCK_REALTIME);
  kill_all_descendants();
  if (watch.report_due) report_started(&watch, started, EVENT_WAIT_MS);
  snprintf(rest, sizeof rest, "%d %s %lld.%03lld", status, stop_names[watch.stop], (long long)time / 1000,
           (long long)time % 1000);
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
  struct start start = {0};

  uint32_t head = take_u32(&cursor);
  if ((head & 0xff) != 1) malformed("unknown kind");
  start.switch_user = head >> 8 & 1;
  start.groups = head >> 16;
  start.uid = take_u32(&cursor);
  start.gid = take_u32(&cursor);
  uint32_t argc = take_u32(&cursor), envc = take_u32(&cursor), cgroups = take_u32(&cursor);
  if (argc < 1 || argc > MAX_STRINGS || envc > MAX_STRINGS || cgroups > MAX_STRINGS) malformed("too many strings");
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
  strings = grown(strings, &strings_capacity, ((size_t)argc + envc + cgroups + 4) * sizeof *strings);
  start.cgroups = take_strings(&cursor, cgroups, strings);
  start.argv = take_strings(&cursor, argc, strings + cgroups + 2);
  start.envp = take_strings(&cursor, envc, start.argv + argc + 1);
  if (cursor.at != cursor.end) malformed("it is longer than what it holds");
  return start;
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
  pid_t pid = supervisor == NULL ? -1 : fork();
  if (pid == 0) supervise(start);
  if (pid < 0) {
    send_failed(start->container, errno, "supervisor", INT_MAX);
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

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts(SOURCE_SHA256) < 0;
  if (argc != 2) {
    fputs("usage: launcher <run directory>, with frames on standard input (see launcher.c)\n", stderr);
    return 2;
  }
  static char run_directory[PATH_MAX];
  if (realpath(argv[1], run_directory) == NULL) die("use the run directory", argv[1]);
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
