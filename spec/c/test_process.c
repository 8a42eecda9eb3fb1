/* Workers in processes of their own, through the table of endpoints. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/segment.h"
#include "chip/program/pack.h"
#include "device/device.h"
#include "node/endpoint.h"
#include <baton/baton.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 1024, BYTES = N * (int)sizeof(float) };

static const double patience = 120; /* seconds for what takes a second at most */

/* --- An endpoint ---------------------------------------------------------------------------------------- */

typedef struct fixture {
  base_extent bell_memory;
  node_doorbell *bell;
  node_endpoint *endpoint;
  uint64_t sequence;
} fixture;

static fixture open_fixture(void) {
  fixture fx = {0};
  assert_int_equal(BATON_OK, base_extent_alloc(sizeof(node_doorbell), 64, &fx.bell_memory, NULL));
  fx.bell = memset(fx.bell_memory.address, 0, sizeof(node_doorbell));
  return fx;
}

static const baton_worker_options one_chip = {.platform = "a2a3sim", .devices = "0", .threads = 1};

static baton_status start_program(fixture *fx, const baton_worker_options *chip, const char *program,
                                  baton_error *err) {
  const node_endpoint_options options = {
      .chip = chip, .bell = fx->bell, .worker = 3, .worker_program = program};
  return node_endpoint_process.start(&options, &fx->endpoint, err);
}

static void must(baton_status status, const baton_error *err) {
  if (status != BATON_OK)
    fail_msg("%s: %s (%s)", baton_status_word(status), err->message, err->cause ? err->cause : "");
}

static void make_ready(fixture *fx) {
  baton_error err = {0};
  must(node_endpoint_process.ready(fx->endpoint, base_deadline(patience), &err), &err);
}

static fixture start_worker(const baton_worker_options *chip) {
  baton_error err = {0};
  fixture fx = open_fixture();
  must(start_program(&fx, chip, NULL, &err), &err);
  make_ready(&fx);
  return fx;
}

static void end_worker(fixture *fx) {
  baton_error err = {0};
  if (fx->endpoint) must(node_endpoint_process.close(fx->endpoint, base_deadline(patience), &err), &err);
  base_extent_free(&fx->bell_memory);
}

static void restart_worker(fixture *fx) {
  baton_error err = {0};
  must(node_endpoint_process.restart(fx->endpoint, &err), &err);
  make_ready(fx);
}

/* Waits on the doorbell of the node, as a driver does, until the death is known. */
static void await_death(fixture *fx) {
  int64_t deadline = base_deadline(patience);
  while (!atomic_load(&fx->endpoint->died)) {
    uint32_t announced = node_doorbell_announce(fx->bell);
    if (atomic_load(&fx->endpoint->died))
      node_doorbell_withdraw(fx->bell);
    else
      assert_true(node_doorbell_sleep(fx->bell, announced, deadline));
  }
}

static void assert_died_of(fixture *fx, const char *format) {
  char expected[256];
  baton_error err = {0};
  int pid = fx->endpoint->pid;
  await_death(fx);
  node_endpoint_process.cause(fx->endpoint, &err);
  snprintf(expected, sizeof expected, format, pid);
  assert_string_equal(expected, err.message);
  assert_int_equal(BATON_WORKER_LOST, err.code);
  if (format[0] == 'w') { /* a chip */
    assert_true(err.known & BATON_KNOWN_WORKER);
    assert_int_equal(3, err.worker);
  }
  baton_error_clear(&err);
}

static uint32_t count_descriptors(void) {
  uint32_t count = 0;
  DIR *folder = opendir("/proc/self/fd");
  assert_non_null(folder);
  while (readdir(folder)) count++;
  closedir(folder);
  return count;
}

/* --- Commands ------------------------------------------------------------------------------------------- */

/* A command with its values and data, on the stack. */
typedef struct frame {
  _Alignas(8) char bytes[4096];
} frame;

static node_command *make_command(frame *room, node_operation operation, const node_value *values,
                                  uint32_t nvalues, const void *data, uint64_t ndata) {
  uint64_t bytes = node_command_bytes(0, nvalues, ndata);
  assert_true(bytes <= sizeof room->bytes);
  node_command *command = memset(room->bytes, 0, sizeof room->bytes);
  *command = (node_command){.bytes = (uint32_t)bytes,
                            .operation = (uint16_t)operation,
                            .nvalues = nvalues,
                            .ndata = (uint32_t)ndata};
  if (nvalues) memcpy(node_command_values(command), values, nvalues * sizeof *values);
  if (ndata) memcpy(node_command_data(command), data, ndata);
  return command;
}

static baton_status control(fixture *fx, node_command *command, node_bytes *out, baton_error *err) {
  return node_endpoint_control(fx->endpoint, command, base_deadline(patience), out, err);
}

static void ping(fixture *fx) {
  frame room;
  baton_error err = {0};
  must(control(fx, make_command(&room, NODE_PING, NULL, 0, NULL, 0), NULL, &err), &err);
}

static baton_view view_of(void *data) {
  return (baton_view){
      .data = data, .base = (uintptr_t)data, .dtype = BATON_F32, .ndim = 1, .shape = {N}, .strides = {1}};
}

static node_value host_value(fixture *fx, float *data, baton_tag tag) {
  uint32_t segment;
  uint64_t offset;
  assert_true(fx->endpoint->calls->shares(fx->endpoint, data, BYTES, &segment, &offset));
  return (node_value){.kind = NODE_HOST_TENSOR,
                      .tag = (uint8_t)tag,
                      .segment = segment + 1,
                      .offset = offset,
                      .bytes = BYTES,
                      .address = (uintptr_t)data,
                      .view = view_of(data)};
}

static node_value buffer_value(uint64_t number) {
  return (node_value){
      .kind = NODE_BUFFER_TENSOR, .tag = BATON_INOUT, .buffer = number, .view = view_of(NULL)};
}

/* Makes a buffer of BYTES; returns its address on the device. */
static uint64_t make_buffer(fixture *fx, uint64_t number) {
  frame room;
  node_bytes reply = {0};
  uint64_t address;
  baton_error err = {0};
  node_command *command = make_command(&room, NODE_MALLOC, NULL, 0, NULL, 0);
  command->buffer = number;
  command->size = BYTES;
  must(control(fx, command, &reply, &err), &err);
  assert_int_equal(sizeof address, reply.size);
  memcpy(&address, reply.data, sizeof address);
  base_free(reply.data);
  return address;
}

static void copy_to(fixture *fx, uint64_t number, float *from) {
  frame room;
  baton_error err = {0};
  const node_value values[] = {buffer_value(number), host_value(fx, from, BATON_INPUT)};
  node_command *command = make_command(&room, NODE_COPY_TO, values, 2, NULL, 0);
  command->size = BYTES;
  must(control(fx, command, NULL, &err), &err);
}

static baton_status try_copy_from(fixture *fx, float *to, uint64_t number, baton_error *err) {
  frame room;
  const node_value values[] = {host_value(fx, to, BATON_OUTPUT), buffer_value(number)};
  node_command *command = make_command(&room, NODE_COPY_FROM, values, 2, NULL, 0);
  command->size = BYTES;
  return control(fx, command, NULL, err);
}

static void copy_from(fixture *fx, float *to, uint64_t number) {
  baton_error err = {0};
  must(try_copy_from(fx, to, number, &err), &err);
}

static base_extent make_memory(float first) {
  base_extent memory;
  assert_int_equal(BATON_OK, base_extent_alloc(BYTES, 64, &memory, NULL));
  for (int i = 0; i < N; i++) ((float *)memory.address)[i] = first + (float)i;
  return memory;
}

static void assert_counts_from(const float *data, float first) {
  for (int i = 0; i < N; i++)
    if (data[i] != first + (float)i) fail_msg("element %d is %g", i, (double)data[i]);
}

/* --- Functions that run in a child ---------------------------------------------------------------------- */

enum { ADD_ONE = 1, HANG, LEAVE };

static const char functions[] = "#include <baton/kernel.h>\n"
                                "#include <unistd.h>\n"
                                "void add_one(const baton_args *args) {\n"
                                "  for (int64_t i = 0; i < baton_numel(args, 0); i++)\n"
                                "    baton_io(args, 0, float)[i] += 1;\n"
                                "}\n"
                                "void hang(const baton_args *args) {\n"
                                "  volatile float *x = baton_io(args, 0, float);\n"
                                "  for (;;) x[0] = 7;\n"
                                "}\n"
                                "void leave(const baton_args *args) { _exit(7); }\n";

static void register_function(fixture *fx, uint32_t callable, const char *entry) {
  static const baton_parameter params[] = {{.name = "x", .direction = BATON_IN_OUT}};
  const baton_kernel_options host = {.name = entry, .code = functions, .entry = entry};
  const baton_program_options options = {.name = entry, .params = params, .nparams = 1, .host = &host};
  frame room;
  chip_text packed = {0};
  baton_program *program;
  baton_error err = {0};
  must(baton_program_create(&options, &program, &err), &err);
  must(chip_program_pack(program, &packed, &err), &err);
  node_command *command = make_command(&room, NODE_REGISTER, NULL, 0, packed.data, packed.length);
  command->callable = callable;
  must(control(fx, command, NULL, &err), &err);
  chip_text_free(&packed);
  baton_program_close(program);
}

static void post_call(fixture *fx, uint32_t callable, float *data) {
  frame room;
  const node_value value = host_value(fx, data, BATON_INOUT);
  node_command *command = make_command(&room, NODE_CALL_PROGRAM, &value, 1, NULL, 0);
  command->callable = callable;
  command->sequence = ++fx->sequence;
  assert_true(node_mailbox_post(&fx->endpoint->mailbox, NODE_TASKS, command, 0));
}

/* The status of the reply, or worker_lost when the child is dead. */
static baton_status await_reply(fixture *fx) {
  const void *block = NULL;
  int64_t deadline = base_deadline(patience);
  for (;;) {
    uint32_t announced = node_doorbell_announce(fx->bell);
    int died = (int)atomic_load(&fx->endpoint->died);
    assert_int_equal(BATON_OK, node_mailbox_take(&fx->endpoint->mailbox, NODE_TASKS, &block, NULL));
    if (block || died) break;
    assert_true(node_doorbell_sleep(fx->bell, announced, deadline));
  }
  node_doorbell_withdraw(fx->bell);
  if (!block) return BATON_WORKER_LOST;
  assert_int_equal(fx->sequence, ((const node_reply *)block)->sequence);
  return (baton_status)((const node_reply *)block)->status;
}

static baton_status call(fixture *fx, uint32_t callable, float *data) {
  post_call(fx, callable, data);
  return await_reply(fx);
}

/* Until the child has begun with what was posted. */
static void await_begin(fixture *fx) {
  int64_t deadline = base_deadline(patience);
  uint64_t begun = 0;
  while (node_mailbox_current(&fx->endpoint->mailbox, &begun) == 0) {
    assert_true(base_now() < deadline);
    usleep(1000);
  }
}

/* --- Life ----------------------------------------------------------------------------------------------- */

static void a_child_starts_answers_and_ends(void **state) {
  (void)state;
  fixture fx = start_worker(&one_chip);
  pid_t pid = fx.endpoint->pid;
  assert_true(pid > 0 && pid != getpid());
  assert_int_equal(pid, getpgid(pid)); /* Ctrl-C in a terminal is not for it */
  assert_int_equal(1, fx.endpoint->started);
  ping(&fx);
  end_worker(&fx);
  assert_int_equal(-1, kill(pid, 0));
  assert_int_equal(ESRCH, errno);
  assert_int_equal(-1, waitpid(pid, NULL, WNOHANG));
}

static void a_sub_worker_needs_no_device(void **state) {
  (void)state;
  fixture fx = start_worker(NULL);
  base_extent memory = make_memory(1);
  register_function(&fx, ADD_ONE, "add_one");
  assert_int_equal(BATON_OK, call(&fx, ADD_ONE, memory.address));
  assert_int_equal(BATON_OK, call(&fx, ADD_ONE, memory.address));
  assert_counts_from(memory.address, 3);
  base_extent_free(&memory);
  end_worker(&fx);
}

static void memory_made_after_the_start_is_shared(void **state) {
  (void)state;
  fixture fx = start_worker(&one_chip);
  base_extent filler[16], memory = make_memory(5), back = make_memory(0);
  uint32_t known = memory.segment, count = 0;
  make_buffer(&fx, 1);
  copy_to(&fx, 1, memory.address);
  while (count < 16 && back.segment <= known) { /* until there is a segment that the child cannot know */
    base_extent_free(&back);
    assert_int_equal(BATON_OK, base_extent_alloc((uint64_t)1 << 30, 4096, &filler[count++], NULL));
    back = make_memory(0);
    if (filler[count - 1].segment > known) break;
  }
  assert_true(filler[count - 1].segment > known);
  float *late = filler[count - 1].address;
  copy_from(&fx, late, 1);
  assert_counts_from(late, 5);
  copy_from(&fx, back.address, 1);
  assert_counts_from(back.address, 5);
  while (count) base_extent_free(&filler[--count]);
  base_extent_free(&memory);
  base_extent_free(&back);
  end_worker(&fx);
}

static void memory_that_no_segment_holds_is_not_shared(void **state) {
  (void)state;
  uint32_t segment;
  uint64_t offset;
  float own[N];
  fixture fx = start_worker(NULL);
  assert_false(fx.endpoint->calls->shares(fx.endpoint, own, sizeof own, &segment, &offset));
  end_worker(&fx);
}

static void bytes_beyond_a_segment_are_refused(void **state) {
  (void)state;
  fixture fx = start_worker(&one_chip);
  base_extent memory = make_memory(0);
  frame room;
  baton_error err = {0};
  uint64_t size;
  make_buffer(&fx, 1);
  node_value values[] = {buffer_value(1), host_value(&fx, memory.address, BATON_INPUT)};
  assert_true(base_segment_fd(memory.segment, &size) >= 0);
  values[1].offset = size - BYTES + 4;
  node_command *command = make_command(&room, NODE_COPY_TO, values, 2, NULL, 0);
  command->size = BYTES;
  assert_int_equal(BATON_PROTOCOL_ERROR, control(&fx, command, NULL, &err));
  values[1].segment = BASE_SEGMENTS + 1;
  command = make_command(&room, NODE_COPY_TO, values, 2, NULL, 0);
  command->size = BYTES;
  assert_int_equal(BATON_PROTOCOL_ERROR, control(&fx, command, NULL, &err));
  baton_error_clear(&err);
  ping(&fx);
  base_extent_free(&memory);
  end_worker(&fx);
}

static void children_leave_no_descriptors(void **state) {
  (void)state;
  fixture first = start_worker(&one_chip); /* segments stay */
  end_worker(&first);
  uint32_t before = count_descriptors();
  for (int i = 0; i < 3; i++) {
    fixture fx = start_worker(&one_chip);
    if (i) restart_worker(&fx);
    end_worker(&fx);
  }
  assert_int_equal(before, count_descriptors());
}

static void the_device_is_the_parents(void **state) {
  (void)state;
  fixture fx = start_worker(&one_chip), second = start_worker(&one_chip);
  const device_platform *platform;
  assert_int_equal(BATON_OK, device_platform_find("a2a3sim", &platform, NULL));
  assert_int_equal(getpid(), device_owner(platform, 0));
  end_worker(&fx);
  restart_worker(&second);
  assert_int_equal(getpid(), device_owner(platform, 0));
  end_worker(&second);
  assert_int_equal(0, device_owner(platform, 0));
}

static void what_the_chip_refuses_comes_back_whole(void **state) {
  (void)state;
  baton_worker_options chip = one_chip;
  baton_error err = {0};
  fixture fx = open_fixture();
  chip.arena.heap = (uint64_t)1 << 50;
  must(start_program(&fx, &chip, NULL, &err), &err);
  assert_int_equal(BATON_OUT_OF_MEMORY,
                   node_endpoint_process.ready(fx.endpoint, base_deadline(patience), &err));
  assert_memory_equal("worker 3: ", err.message, 10);
  assert_true(err.known & BATON_KNOWN_DEVICE);
  assert_true(err.known & BATON_KNOWN_WORKER);
  baton_error_clear(&err);
  end_worker(&fx);
}

static void an_unknown_platform_starts_nothing(void **state) {
  (void)state;
  uint32_t before = count_descriptors();
  baton_error err = {0};
  fixture fx = open_fixture();
  assert_int_equal(BATON_UNSUPPORTED,
                   start_program(&fx, &(baton_worker_options){.platform = "abacus"}, NULL, &err));
  assert_string_equal("platform 'abacus' is not supported, only: a2a3sim, a5sim", err.message);
  assert_null(fx.endpoint);
  baton_error_clear(&err);
  end_worker(&fx);
  assert_int_equal(before, count_descriptors());
}

/* --- Death ---------------------------------------------------------------------------------------------- */

static void a_child_killed_while_idle_is_noticed(void **state) {
  (void)state;
  frame room;
  baton_error err = {0};
  fixture fx = start_worker(&one_chip);
  kill(fx.endpoint->pid, SIGKILL);
  assert_died_of(&fx, "worker 3: its child (pid %d) was killed by signal 9 (Killed)");
  assert_int_equal(BATON_WORKER_LOST,
                   control(&fx, make_command(&room, NODE_PING, NULL, 0, NULL, 0), NULL, &err));
  baton_error_clear(&err);
  restart_worker(&fx);
  assert_int_equal(2, fx.endpoint->started);
  ping(&fx);
  end_worker(&fx);
}

static void a_child_killed_during_a_task_is_noticed(void **state) {
  (void)state;
  fixture fx = start_worker(NULL);
  base_extent memory = make_memory(0);
  register_function(&fx, HANG, "hang");
  post_call(&fx, HANG, memory.address);
  await_begin(&fx);
  ping(&fx); /* a task does not keep it from control */
  kill(fx.endpoint->pid, SIGKILL);
  assert_int_equal(BATON_WORKER_LOST, await_reply(&fx));
  assert_died_of(&fx, "sub worker 3: its child (pid %d) was killed by signal 9 (Killed)");
  restart_worker(&fx);
  register_function(&fx, ADD_ONE, "add_one");
  assert_int_equal(BATON_OK, call(&fx, ADD_ONE, memory.address));
  base_extent_free(&memory);
  end_worker(&fx);
}

static void a_function_that_exits_costs_its_child(void **state) {
  (void)state;
  fixture fx = start_worker(NULL);
  base_extent memory = make_memory(0);
  register_function(&fx, LEAVE, "leave");
  assert_int_equal(BATON_WORKER_LOST, call(&fx, LEAVE, memory.address));
  assert_died_of(&fx, "sub worker 3: its child (pid %d) exited with status 7");
  base_extent_free(&memory);
  end_worker(&fx);
}

static void a_child_that_hangs_is_replaced(void **state) {
  (void)state;
  fixture fx = start_worker(NULL);
  base_extent memory = make_memory(0);
  register_function(&fx, HANG, "hang");
  post_call(&fx, HANG, memory.address);
  await_begin(&fx);
  restart_worker(&fx);
  ping(&fx);
  base_extent_free(&memory);
  end_worker(&fx);
}

static void a_child_that_hangs_does_not_keep_the_end(void **state) {
  (void)state;
  baton_error err = {0};
  fixture fx = start_worker(NULL);
  base_extent memory = make_memory(0);
  pid_t pid = fx.endpoint->pid;
  register_function(&fx, HANG, "hang");
  post_call(&fx, HANG, memory.address);
  await_begin(&fx);
  assert_int_equal(BATON_TIMEOUT, node_endpoint_process.close(fx.endpoint, base_deadline(0.2), &err));
  assert_int_equal(-1, kill(pid, 0));
  baton_error_clear(&err);
  base_extent_free(&memory);
  fx.endpoint = NULL;
  end_worker(&fx);
}

static void a_restart_keeps_buffers(void **state) {
  (void)state;
  fixture fx = start_worker(&one_chip);
  base_extent memory = make_memory(9), back = make_memory(0);
  uint64_t addresses[3];
  for (uint64_t number = 0; number < 3; number++) {
    addresses[number] = make_buffer(&fx, 10 + number);
    const node_kept buffer = {10 + number, addresses[number], BYTES};
    assert_int_equal(BATON_OK, node_endpoint_keep(fx.endpoint, &buffer, NULL));
  }
  copy_to(&fx, 10, memory.address);
  copy_to(&fx, 12, memory.address);
  node_endpoint_forget(fx.endpoint, 11);
  for (int times = 0; times < 2; times++) {
    kill(fx.endpoint->pid, SIGKILL);
    restart_worker(&fx);
    copy_from(&fx, back.address, 12);
    assert_counts_from(back.address, 9);
    copy_from(&fx, back.address, 10);
    assert_counts_from(back.address, 9);
  }
  baton_error err = {0};
  assert_int_equal(BATON_STALE_HANDLE, try_copy_from(&fx, back.address, 11, &err));
  baton_error_clear(&err);
  uint64_t fresh = make_buffer(&fx, 13); /* not where others live */
  assert_true(fresh != addresses[0] && fresh != addresses[2]);
  base_extent_free(&memory);
  base_extent_free(&back);
  end_worker(&fx);
}

static void a_process_that_reaps_its_children_itself_still_learns_of_a_death(void **state) {
  (void)state;
  fixture fx = start_worker(NULL);
  signal(SIGCHLD, SIG_IGN);
  kill(fx.endpoint->pid, SIGKILL);
  assert_died_of(&fx, "sub worker 3: its child (pid %d) ended");
  signal(SIGCHLD, SIG_DFL);
  end_worker(&fx);
}

/* --- The end of the parent ------------------------------------------------------------------------------ */

/* In a process that will be killed: opens a worker, leaves it in a function that never ends if `hangs`, and says its number. */
static void be_a_parent(int pipe_end, int hangs) {
  fixture fx = start_worker(NULL);
  base_extent memory = make_memory(0);
  if (hangs) {
    register_function(&fx, HANG, "hang");
    post_call(&fx, HANG, memory.address);
    await_begin(&fx);
  }
  pid_t pid = fx.endpoint->pid;
  if (write(pipe_end, &pid, sizeof pid) != sizeof pid) _exit(1);
  for (;;) pause();
}

/* The grandchild becomes ours when its parent is dead, so that its end can be waited for. */
static void an_orphan_ends(int hangs) {
  int ends[2], status;
  pid_t grandchild = 0;
  assert_int_equal(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
  assert_int_equal(0, pipe2(ends, O_CLOEXEC));
  pid_t child = fork();
  assert_true(child >= 0);
  if (!child) be_a_parent(ends[1], hangs);
  close(ends[1]);
  assert_int_equal(sizeof grandchild, read(ends[0], &grandchild, sizeof grandchild));
  close(ends[0]);
  kill(child, SIGKILL);
  assert_int_equal(child, waitpid(child, &status, 0));
  int64_t deadline = base_deadline(20);
  pid_t gone;
  while ((gone = waitpid(grandchild, &status, WNOHANG)) == 0 && base_now() < deadline) usleep(10000);
  if (!gone) kill(grandchild, SIGKILL);
  assert_int_equal(grandchild, gone);
  assert_true(WIFEXITED(status));
  assert_int_equal(0, prctl(PR_SET_CHILD_SUBREAPER, 0));
}

static void a_child_ends_with_its_parent(void **state) {
  (void)state;
  an_orphan_ends(0);
}

static void a_child_whose_function_hangs_ends_with_its_parent(void **state) {
  (void)state;
  an_orphan_ends(1);
}

/* --- Programs that are no worker ------------------------------------------------------------------------ */

static void a_missing_program_is_named(void **state) {
  (void)state;
  baton_error err = {0};
  fixture fx = open_fixture();
  assert_int_equal(BATON_IO_ERROR, start_program(&fx, NULL, "/nowhere/baton-worker", &err));
  assert_string_equal(
      "the worker program '/nowhere/baton-worker' (worker_program) cannot be executed: No such "
      "file or directory",
      err.message);
  assert_string_equal("/nowhere/baton-worker", err.path);
  assert_non_null(err.hint);
  assert_int_equal(BATON_IO_ERROR, start_program(&fx, NULL, "/tmp", &err));
  assert_string_equal("the worker program '/tmp' (worker_program) cannot be executed: Is a directory",
                      err.message);
  setenv("BATON_WORKER_PROGRAM", "/dev/null", 1);
  assert_int_equal(BATON_IO_ERROR, start_program(&fx, NULL, NULL, &err));
  assert_string_equal("the worker program '/dev/null' (BATON_WORKER_PROGRAM) cannot be executed: Permission "
                      "denied",
                      err.message);
  unsetenv("BATON_WORKER_PROGRAM");
  baton_error_clear(&err);
  end_worker(&fx);
}

static void assert_not_ready(const char *program, double seconds, baton_status code, const char *format) {
  char expected[256];
  baton_error err = {0};
  fixture fx = open_fixture();
  must(start_program(&fx, NULL, program, &err), &err);
  pid_t pid = fx.endpoint->pid;
  assert_int_equal(code, node_endpoint_process.ready(fx.endpoint, base_deadline(seconds), &err));
  snprintf(expected, sizeof expected, format, (int)pid);
  assert_string_equal(expected, err.message);
  assert_string_equal(program, err.path);
  assert_int_equal(-1, kill(pid, 0));
  assert_true(atomic_load(&fx.endpoint->died));
  baton_error again = {0};
  node_endpoint_process.cause(fx.endpoint, &again);
  assert_string_equal(expected, again.message);
  baton_error_clear(&again);
  baton_error_clear(&err);
  end_worker(&fx);
}

static void another_program_is_no_worker(void **state) {
  (void)state;
  uint32_t before = count_descriptors();
  assert_not_ready("/bin/true", patience, BATON_WORKER_LOST,
                   "sub worker 3: its child (pid %d) exited with status 0 before it was ready");
  assert_not_ready("/bin/cat", patience, BATON_WORKER_LOST,
                   "sub worker 3: its child (pid %d) exited with status 1 before it was ready");
  assert_int_equal(before, count_descriptors());
}

static void a_program_that_says_nothing_runs_out_of_time(void **state) {
  (void)state;
  char path[] = "/tmp/baton-silent-XXXXXX";
  static const char script[] = "#!/bin/sh\nexec sleep 1000\n";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(sizeof script - 1, write(fd, script, sizeof script - 1));
  assert_int_equal(0, fchmod(fd, 0700));
  close(fd);
  assert_not_ready(path, 0.2, BATON_TIMEOUT, "sub worker 3: its child (pid %d) was not ready in time");
  unlink(path);
}

/* With so few descriptors that it fails at another place each time, until it succeeds. */
static void a_start_without_descriptors_leaves_nothing(void **state) {
  (void)state;
  struct rlimit limit, few;
  fixture first = start_worker(&one_chip);
  end_worker(&first);
  assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &limit));
  uint32_t before = count_descriptors(), failures = 0;
  for (rlim_t more = 0;; more++) {
    baton_error err = {0};
    fixture fx = open_fixture();
    few = limit;
    few.rlim_cur = before - 3 + more; /* ".", ".." and the folder itself are no descriptors that stay */
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &few));
    baton_status status = start_program(&fx, &one_chip, NULL, &err);
    if (status == BATON_OK) status = node_endpoint_process.ready(fx.endpoint, base_deadline(patience), &err);
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &limit));
    end_worker(&fx);
    assert_int_equal(before, count_descriptors());
    baton_error_clear(&err);
    if (status == BATON_OK) break;
    failures++;
    assert_string_equal("resource_limit", baton_status_word(status));
    assert_true(failures < 100);
  }
  assert_true(failures > 3);
}

/* --- Every point of the protocol ------------------------------------------------------------------------ */

/* Starts a child that dies at the point, and waits for that. */
static void die_at(fixture *fx, const char *point) {
  frame room;
  baton_error err = {0};
  setenv("BATON_WORKER_DIE_AT", point, 1);
  must(start_program(fx, &one_chip, NULL, &err), &err);
  baton_status status = node_endpoint_process.ready(fx->endpoint, base_deadline(patience), &err);
  node_command *command = make_command(&room, strcmp(point, "end") ? NODE_PING : NODE_END, NULL, 0, NULL, 0);
  for (int i = 0; i < 3 && status == BATON_OK; i++) status = control(fx, command, NULL, &err);
  assert_string_equal("worker_lost", baton_status_word(status));
  await_death(fx);
  node_endpoint_process.cause(fx->endpoint, &err);
  assert_true(err.known & BATON_KNOWN_SIGNAL);
  assert_int_equal(SIGKILL, err.signal);
  baton_error_clear(&err);
}

static void a_child_may_die_at_each_point(void **state) {
  (void)state;
  static const char *const points[] = {"open",  "ready",   "take",    "begin",
                                       "reply", "replied", "segment", "end"};
  for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
    fixture fx = open_fixture();
    base_extent memory = make_memory(1);
    die_at(&fx, points[i]);
    restart_worker(&fx); /* the second child does not do it again */
    register_function(&fx, ADD_ONE, "add_one");
    assert_int_equal(BATON_OK, call(&fx, ADD_ONE, memory.address));
    assert_counts_from(memory.address, 2);
    base_extent_free(&memory);
    end_worker(&fx);
    unsetenv("BATON_WORKER_DIE_AT");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_child_starts_answers_and_ends),
      cmocka_unit_test(a_sub_worker_needs_no_device),
      cmocka_unit_test(memory_made_after_the_start_is_shared),
      cmocka_unit_test(memory_that_no_segment_holds_is_not_shared),
      cmocka_unit_test(bytes_beyond_a_segment_are_refused),
      cmocka_unit_test(children_leave_no_descriptors),
      cmocka_unit_test(the_device_is_the_parents),
      cmocka_unit_test(what_the_chip_refuses_comes_back_whole),
      cmocka_unit_test(an_unknown_platform_starts_nothing),
      cmocka_unit_test(a_child_killed_while_idle_is_noticed),
      cmocka_unit_test(a_child_killed_during_a_task_is_noticed),
      cmocka_unit_test(a_function_that_exits_costs_its_child),
      cmocka_unit_test(a_child_that_hangs_is_replaced),
      cmocka_unit_test(a_child_that_hangs_does_not_keep_the_end),
      cmocka_unit_test(a_restart_keeps_buffers),
      cmocka_unit_test(a_process_that_reaps_its_children_itself_still_learns_of_a_death),
      cmocka_unit_test(a_child_ends_with_its_parent),
      cmocka_unit_test(a_child_whose_function_hangs_ends_with_its_parent),
      cmocka_unit_test(a_missing_program_is_named),
      cmocka_unit_test(another_program_is_no_worker),
      cmocka_unit_test(a_program_that_says_nothing_runs_out_of_time),
      cmocka_unit_test(a_start_without_descriptors_leaves_nothing),
      cmocka_unit_test(a_child_may_die_at_each_point),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
