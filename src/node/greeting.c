#include "node/greeting.h"
#include "base/cause.h"
#include "base/memory.h"
#include "node/mailbox.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PAGE = 4096, ANSWER_MOST = 400 << 10 }; /* six texts of 64 KiB, and numbers */

/* `bytes` 0: there is none. */
typedef struct node_answer {
  uint64_t bytes;
  char data[ANSWER_MOST];
} node_answer;

static const char magic[8] = "baton/3";

static uint64_t whole_pages(uint64_t bytes) { return (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1); }
static uint64_t answer_begins(void) { return whole_pages(sizeof(node_greeting)); }
static uint64_t kept_begins(void) { return answer_begins() + whole_pages(sizeof(node_answer)); }

static node_answer *answer_of(const node_shared *shared) {
  return (node_answer *)(void *)((char *)shared->memory + answer_begins());
}

const node_kept *node_greeting_kept(const node_shared *shared) {
  return (const node_kept *)(const void *)((const char *)shared->memory + kept_begins());
}

void *node_greeting_mailbox(const node_shared *shared, const node_greeting *greeting) {
  return (char *)shared->memory + greeting->mailbox;
}

/* --- Options of a chip ---------------------------------------------------------------------------------- */

static baton_status set_text(char *out, size_t room, const char *text, const char *what, baton_error *err) {
  size_t length = text ? strlen(text) : 0;
  if (length >= room)
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "%s: '%.64s…' is longer than %zu characters", what,
                           text, room - 1);
  if (length) memcpy(out, text, length);
  out[length] = 0;
  return BATON_OK;
}

static baton_status set_config(node_config *out, const baton_config *config, baton_error *err) {
  *out = (node_config){.ring_task_window = config->ring_task_window,
                       .ring_dep_pool = config->ring_dep_pool,
                       .ring_heap = config->ring_heap,
                       .deadline = config->deadline,
                       .timeout = config->timeout,
                       .stream_timeout = config->stream_timeout,
                       .element_timeout = config->element_timeout};
  return set_text(out->runtime, sizeof out->runtime, config->runtime, "runtime", err);
}

baton_status node_greeting_set_chip(node_greeting *greeting, const baton_worker_options *chip,
                                    uint32_t device, baton_error *err) {
  node_chip_options *out = &greeting->chip;
  *out = (node_chip_options){.fault_nth = chip->fault.nth,
                             .fault_forever = chip->fault.forever,
                             .threads = chip->threads,
                             .arena = chip->arena};
  greeting->has_chip = 1;
  snprintf(out->devices, sizeof out->devices, "%u", device);
  BATON_TRY(set_text(out->platform, sizeof out->platform, chip->platform, "platform", err));
  BATON_TRY(set_text(out->fault_call, sizeof out->fault_call, chip->fault.call, "fault", err));
  return set_config(&out->config, &chip->config, err);
}

static const char *text_or_null(const char *text) { return text[0] ? text : NULL; }

static baton_config get_config(const node_config *config) {
  return (baton_config){.ring_task_window = config->ring_task_window,
                        .ring_dep_pool = config->ring_dep_pool,
                        .ring_heap = config->ring_heap,
                        .runtime = text_or_null(config->runtime),
                        .deadline = config->deadline,
                        .timeout = config->timeout,
                        .stream_timeout = config->stream_timeout,
                        .element_timeout = config->element_timeout};
}

baton_worker_options node_greeting_chip(const node_greeting *greeting) {
  const node_chip_options *chip = &greeting->chip;
  return (baton_worker_options){.platform = text_or_null(chip->platform),
                                .devices = chip->devices,
                                .threads = chip->threads,
                                .arena = chip->arena,
                                .fault = {.call = text_or_null(chip->fault_call),
                                          .nth = chip->fault_nth,
                                          .forever = chip->fault_forever},
                                .config = get_config(&chip->config)};
}

/* --- Options of a node ---------------------------------------------------------------------------------- */

baton_status node_greeting_set_node(node_greeting *greeting, const baton_node_options *node,
                                    const char *worker_program, baton_error *err) {
  node_node_options *out = &greeting->node;
  *out = (node_node_options){.nchips = node->nchips,
                             .subs = node->subs,
                             .threads = node->threads,
                             .isolation = node->isolation,
                             .heap = node->heap,
                             .arena = node->arena,
                             .startup_timeout = node->startup_timeout,
                             .wait_device = node->wait_device};
  greeting->has_node = 1;
  for (uint32_t i = 0; i < node->nchips; i++) {
    out->chips[i].device = node->chips[i].device;
    BATON_TRY(set_text(out->chips[i].platform, sizeof out->chips[i].platform, node->chips[i].platform,
                       "platform", err));
  }
  BATON_TRY(set_text(out->worker_program, sizeof out->worker_program, worker_program, "worker_program", err));
  return set_config(&out->config, &node->config, err);
}

baton_node_options node_greeting_node(const node_greeting *greeting,
                                      baton_node_chip chips[BATON_NODE_WORKERS]) {
  const node_node_options *node = &greeting->node;
  for (uint32_t i = 0; i < node->nchips; i++)
    chips[i] =
        (baton_node_chip){.platform = text_or_null(node->chips[i].platform), .device = node->chips[i].device};
  return (baton_node_options){.chips = chips,
                              .nchips = node->nchips,
                              .subs = node->subs,
                              .isolation = (baton_isolation)node->isolation,
                              .heap = node->heap,
                              .threads = node->threads,
                              .config = get_config(&node->config),
                              .arena = node->arena,
                              .startup_timeout = node->startup_timeout,
                              .wait_device = node->wait_device,
                              .worker_program = text_or_null(node->worker_program)};
}

/* --- The memory ----------------------------------------------------------------------------------------- */

void node_shared_unmap(node_shared *shared) {
  if (shared->memory) munmap(shared->memory, shared->bytes);
  *shared = (node_shared){0};
}

/* 0 or an errno. */
static int map(int fd, uint64_t bytes, node_shared *out) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (memory == MAP_FAILED) return errno;
  *out = (node_shared){memory, bytes};
  return 0;
}

static int make_memory(uint64_t bytes, node_shared *out, int *fd) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && bytes > limit.rlim_cur) return EFBIG; /* else SIGXFSZ */
  *fd = memfd_create("baton-node", MFD_CLOEXEC);
  if (*fd < 0) return errno;
  int failure = ftruncate(*fd, (off_t)bytes) == 0 ? map(*fd, bytes, out) : errno;
  if (failure) close(*fd);
  return failure;
}

baton_status node_greeting_make(const node_greeting *greeting, const node_kept *kept, uint32_t nkept,
                                node_shared *out, int *fd, baton_error *err) {
  uint64_t list = nkept * sizeof *kept, mailbox = kept_begins() + whole_pages(list);
  uint64_t bytes = mailbox + whole_pages(node_mailbox_size());
  int failure = make_memory(bytes, out, fd);
  if (failure) {
    baton_error_set(err, base_cause_status(failure, BATON_IO_ERROR),
                    "no memory of %llu bytes to share with a child", (unsigned long long)bytes);
    return baton_error_text(err, BATON_FIELD_CAUSE, "%s", strerror(failure));
  }
  node_greeting *written = out->memory;
  *written = *greeting;
  memcpy(written->magic, magic, sizeof magic);
  snprintf(written->version, sizeof written->version, "%s", BATON_VERSION);
  written->bytes = bytes;
  written->mailbox = mailbox;
  written->parent = getpid();
  written->nkept = nkept;
  if (list) memcpy((char *)out->memory + kept_begins(), kept, list);
  return BATON_OK;
}

/* What is wrong with a greeting in `bytes` bytes; NULL: nothing. */
static const char *mistake(const node_greeting *greeting, uint64_t bytes) {
  if (memcmp(greeting->magic, magic, sizeof magic) != 0) return "magic";
  if (strncmp(greeting->version, BATON_VERSION, sizeof greeting->version) != 0) return "version";
  if (greeting->bytes != bytes) return "size";
  if (greeting->has_node && greeting->node.nchips > BATON_NODE_WORKERS) return "number of chips";
  uint64_t list = greeting->nkept * sizeof(node_kept);
  if (greeting->mailbox != kept_begins() + whole_pages(list)) return "mailbox";
  return bytes == greeting->mailbox + whole_pages(node_mailbox_size()) ? NULL : "size of the mailbox";
}

baton_status node_greeting_read(int fd, uint64_t bytes, node_shared *out, node_greeting *greeting,
                                baton_error *err) {
  if (bytes < answer_begins())
    return baton_error_set(err, BATON_PROTOCOL_ERROR, "a greeting of %llu bytes", (unsigned long long)bytes);
  int failure = map(fd, bytes, out);
  if (failure) {
    baton_error_set(err, base_cause_status(failure, BATON_IO_ERROR), "the greeting cannot be mapped");
    return baton_error_text(err, BATON_FIELD_CAUSE, "%s", strerror(failure));
  }
  *greeting = *(const node_greeting *)out->memory;
  const char *field = mistake(greeting, bytes);
  if (!field) return BATON_OK;
  node_shared_unmap(out);
  baton_error_set(err, BATON_PROTOCOL_ERROR, "the greeting of process %d has another %s",
                  (int)greeting->parent, field);
  return baton_error_text(err, BATON_FIELD_HINT, "this worker program is of Baton " BATON_VERSION);
}

/* --- Answers -------------------------------------------------------------------------------------------- */

void node_answer_write(const node_shared *shared, const baton_error *error) {
  node_answer *answer = answer_of(shared);
  answer->bytes = node_error_pack(error, answer->data, sizeof answer->data);
}

/* From a private copy: the child may still be alive. */
int node_answer_read(const node_shared *shared, baton_error *error) {
  const node_answer *answer = answer_of(shared);
  uint64_t bytes = answer->bytes;
  if (!bytes || bytes > sizeof answer->data) return 0;
  char *copy = base_alloc(bytes);
  if (!copy) return 0;
  memcpy(copy, answer->data, bytes);
  int read = node_error_unpack(copy, bytes, error);
  base_free(copy);
  return read;
}
