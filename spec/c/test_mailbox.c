/* Mailboxes: commands and replies between two threads and between two processes, waiting, and memory that makes no sense. */
#include "base/clock.h"
#include "node/mailbox.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { SMALL_TASKS = 4096, LARGEST_DATA = NODE_DATA_MOST - sizeof(node_command) };
static const double soon = 60; /* seconds: what should happen at once has failed to by then */

static void *map_shared(uint64_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_ptr_not_equal(memory, MAP_FAILED);
  return memory;
}

/* Both ends of one mailbox, and the bell of a node. */
typedef struct pair {
  void *memory;
  node_doorbell *bell;
  node_mailbox client, server;
} pair;

static void open_on(pair *p, node_doorbell *bell) {
  *p = (pair){.memory = map_shared(node_mailbox_size()), .bell = bell};
  node_mailbox_init(p->memory);
  assert_int_equal(BATON_OK, node_mailbox_attach(&p->client, p->memory, bell, 0, NULL));
  assert_int_equal(BATON_OK, node_mailbox_attach(&p->server, p->memory, bell, 1, NULL));
}

static void open_pair(pair *p) { open_on(p, map_shared(sizeof(node_doorbell))); }

static void close_on(pair *p) {
  node_mailbox_detach(&p->client);
  node_mailbox_detach(&p->server);
  munmap(p->memory, node_mailbox_size());
}

static void close_pair(pair *p) {
  close_on(p);
  munmap(p->bell, sizeof(node_doorbell));
}

/* --- Blocks whose bytes follow from a number ------------------------------------------------------------ */

typedef union command_block {
  node_command head;
  char bytes[1 << 14];
} command_block;

static char byte_of(uint64_t sequence, uint32_t i) { return (char)(sequence * 31 + i * 7); }

static node_command *make_command(void *room, uint64_t sequence, uint32_t ndata) {
  node_command *command = room;
  *command = (node_command){.bytes = (uint32_t)node_command_bytes(0, 0, ndata),
                            .operation = NODE_CALL_SCRIPT,
                            .sequence = sequence,
                            .ndata = ndata};
  for (uint32_t i = 0; i < ndata; i++) node_command_data(command)[i] = byte_of(sequence, i);
  return command;
}

static node_reply *make_reply(void *room, uint64_t sequence, uint32_t ndata) {
  node_reply *reply = room;
  *reply = (node_reply){.bytes = (uint32_t)node_reply_bytes(ndata), .sequence = sequence, .ndata = ndata};
  for (uint32_t i = 0; i < ndata; i++) node_reply_data(reply)[i] = byte_of(sequence, i);
  return reply;
}

static void assert_data(const char *data, uint64_t sequence, uint32_t ndata) {
  for (uint32_t i = 0; i < ndata; i++)
    if (data[i] != byte_of(sequence, i)) fail_msg("byte %u of block %llu", i, (unsigned long long)sequence);
}

static int post(pair *p, node_lane lane, uint64_t sequence, uint32_t ndata) {
  command_block block;
  return node_mailbox_post(&p->client, lane, make_command(&block, sequence, ndata), 0);
}

/* The next block of a mailbox, which must make sense; NULL: none. */
static const void *take(node_mailbox *mailbox, node_lane lane) {
  const void *block;
  int has = node_mailbox_has(mailbox, lane);
  assert_int_equal(BATON_OK, node_mailbox_take(mailbox, lane, &block, NULL));
  if (has) assert_non_null(block);
  return block;
}

static void assert_command(pair *p, node_lane lane, uint64_t sequence, uint32_t ndata) {
  const node_command *command = take(&p->server, lane);
  assert_non_null(command);
  assert_int_equal(command->sequence, sequence);
  assert_int_equal(command->ndata, ndata);
  assert_data(node_command_data(command), sequence, ndata);
}

/* --- Rings ---------------------------------------------------------------------------------------------- */

static void commands_arrive_in_order_on_each_lane(void **state) {
  (void)state;
  pair p;
  open_pair(&p);
  assert_null(take(&p.server, NODE_TASKS));
  for (uint32_t i = 0; i < 3; i++) {
    assert_true(post(&p, NODE_TASKS, 10 + i, i * 100));
    assert_true(post(&p, NODE_CONTROL, 20 + i, i));
  }
  assert_null(take(&p.server, NODE_TRANSFERS));
  for (uint32_t i = 0; i < 3; i++) assert_command(&p, NODE_CONTROL, 20 + i, i);
  for (uint32_t i = 0; i < 3; i++) assert_command(&p, NODE_TASKS, 10 + i, i * 100);
  assert_null(take(&p.server, NODE_TASKS));
  close_pair(&p);
}

/* Fills the lane, takes some, fills it again, for many laps with blocks of all lengths. */
static void rings_are_filled_again_and_again(void **state) {
  (void)state;
  pair p;
  open_pair(&p);
  uint64_t sent = 0, taken = 0;
  for (int turn = 0; turn < 300; turn++) {
    while (post(&p, NODE_CONTROL, sent, (uint32_t)(sent * 37 % 5000))) sent++;
    assert_true(sent - taken > 1);
    for (uint64_t stop = taken + (sent - taken) * (uint64_t)(turn % 4 + 1) / 4; taken < stop; taken++)
      assert_command(&p, NODE_CONTROL, taken, (uint32_t)(taken * 37 % 5000));
  }
  assert_true(sent > 3000);
  close_pair(&p);
}

static void a_lane_holds_thousands_of_short_commands(void **state) {
  (void)state;
  pair p;
  uint64_t sent = 0;
  open_pair(&p);
  while (post(&p, NODE_TASKS, sent, 0)) sent++;
  assert_int_equal(sent, SMALL_TASKS);
  for (uint64_t i = 0; i < sent; i++) assert_command(&p, NODE_TASKS, i, 0);
  assert_null(take(&p.server, NODE_TASKS));
  assert_true(post(&p, NODE_TASKS, sent, 0));
  close_pair(&p);
}

static void large_blocks_pass_one_at_a_time(void **state) {
  (void)state;
  pair p;
  char *block = malloc(NODE_DATA_MOST);
  open_pair(&p);
  for (uint64_t turn = 0; turn < 3; turn++) {
    make_command(block, turn, LARGEST_DATA);
    assert_int_equal(((node_command *)(void *)block)->bytes, NODE_DATA_MOST);
    assert_true(post(&p, NODE_CONTROL, 50, 3));
    assert_true(node_mailbox_post(&p.client, NODE_CONTROL, (node_command *)(void *)block, 0));
    assert_true(post(&p, NODE_CONTROL, 51, 4)); /* short ones go on */
    assert_false(node_mailbox_post(&p.client, NODE_CONTROL, (node_command *)(void *)block, 0));
    assert_command(&p, NODE_CONTROL, 50, 3);
    assert_false(node_mailbox_post(&p.client, NODE_CONTROL, (node_command *)(void *)block, 0));
    assert_command(&p, NODE_CONTROL, turn, LARGEST_DATA);
    assert_command(&p, NODE_CONTROL, 51, 4);
    assert_true(node_mailbox_reply(&p.server, NODE_CONTROL, make_reply(block, turn, LARGEST_DATA)));
    const node_reply *reply = take(&p.client, NODE_CONTROL);
    assert_non_null(reply);
    assert_data(node_reply_data(reply), turn, LARGEST_DATA);
  }
  free(block);
  close_pair(&p);
}

/* Lengths around the one from which on a block does not go through the ring itself. */
static void blocks_of_every_length_fit_an_empty_lane(void **state) {
  (void)state;
  pair p;
  uint64_t turn = 0;
  char *block = malloc(1 << 18);
  open_pair(&p);
  for (int lane = 0; lane < NODE_LANES; lane++)
    for (uint32_t near = lane == NODE_TASKS ? 114600 : 28600, i = 0; i < 40; i++, turn++) {
      uint32_t ndata = near - 80 + 8 * i;
      for (int again = 0; again < 3; again++) {
        assert_true(node_mailbox_post(&p.client, (node_lane)lane, make_command(block, turn, ndata), 0));
        assert_command(&p, (node_lane)lane, turn, ndata);
      }
    }
  free(block);
  close_pair(&p);
}

/* --- Waiting -------------------------------------------------------------------------------------------- */

/* A wait of the server, on a thread of its own. */
typedef struct waiter {
  pair *p;
  node_lane lane;
  int woken;
  _Atomic int over;
  pthread_t thread;
} waiter;

static void start(waiter *w, pair *p, node_lane lane, void *(*main)(void *)) {
  *w = (waiter){.p = p, .lane = lane};
  assert_int_equal(0, pthread_create(&w->thread, NULL, main, w));
}

static int join(waiter *w) {
  pthread_join(w->thread, NULL);
  return w->woken;
}

/* The other thread sleeps on the bell, or is about to. */
static void await_sleeper(const node_doorbell *bell) {
  int64_t deadline = base_deadline(soon);
  while (atomic_load(&bell->sleepers) == 0 && base_now() < deadline) sched_yield();
  assert_true(atomic_load(&bell->sleepers) > 0);
}

static void *await_command(void *context) {
  waiter *w = context;
  w->woken = node_mailbox_await(&w->p->server, w->lane, 1000, INT64_MAX);
  return NULL;
}

static void *fill_with_replies(void *context) {
  waiter *w = context;
  node_reply reply;
  for (uint64_t i = 0; i < SMALL_TASKS + 10; i++) {
    w->woken = node_mailbox_reply(&w->p->server, NODE_TASKS, make_reply(&reply, i, 0));
    if (!w->woken) break;
  }
  atomic_store(&w->over, 1);
  node_doorbell_ring(w->p->bell);
  return NULL;
}

static void *await_cancellation(void *context) {
  waiter *w = context;
  w->woken = node_mailbox_await_cancel(&w->p->server, 0);
  return NULL;
}

static void *await_control(void *context) {
  waiter *w = context;
  w->woken = node_mailbox_await_control(&w->p->client, base_deadline(soon));
  return NULL;
}

static void a_full_ring_of_replies_holds_the_server_up(void **state) {
  (void)state;
  pair p;
  waiter w;
  uint64_t taken = 0;
  open_pair(&p);
  start(&w, &p, NODE_TASKS, fill_with_replies);
  await_sleeper((const node_doorbell *)(const void *)((const char *)p.server.ends[NODE_TASKS].out.back +
                                                      BASE_CACHE_LINE));
  assert_false(atomic_load(&w.over));
  while (taken < SMALL_TASKS + 10) {
    uint32_t announced = node_doorbell_announce(p.bell);
    if (node_mailbox_has(&p.client, NODE_TASKS))
      node_doorbell_withdraw(p.bell);
    else
      assert_true(node_doorbell_sleep(p.bell, announced, base_deadline(soon)));
    for (const node_reply *reply; (reply = take(&p.client, NODE_TASKS)); taken++)
      assert_int_equal(reply->sequence, taken);
  }
  assert_true(join(&w));
  close_pair(&p);
}

static void commands_wake_the_server(void **state) {
  (void)state;
  pair p;
  waiter w;
  command_block block;
  open_pair(&p);
  for (int later = 0; later < 2; later++)
    for (int lane = 0; lane < NODE_LANES; lane++) {
      start(&w, &p, (node_lane)lane, await_command);
      assert_true(node_mailbox_post(&p.client, (node_lane)lane, make_command(&block, 1, 0), later));
      if (later) node_mailbox_flush(&p.client, (node_lane)lane);
      assert_true(join(&w));
      assert_command(&p, (node_lane)lane, 1, 0);
    }
  close_pair(&p);
}

static void control_calls_are_answered_on_a_bell_of_their_own(void **state) {
  (void)state;
  pair p;
  waiter w;
  node_reply reply;
  open_pair(&p);
  uint32_t rings = atomic_load(&p.bell->rings);
  start(&w, &p, NODE_CONTROL, await_control);
  assert_true(node_mailbox_reply(&p.server, NODE_CONTROL, make_reply(&reply, 1, 0)));
  assert_true(join(&w));
  assert_int_equal(atomic_load(&p.bell->rings), rings);
  assert_non_null(take(&p.client, NODE_CONTROL));
  int64_t begin = base_now();
  assert_false(node_mailbox_await_control(&p.client, base_deadline(0.02)));
  assert_true(base_now() - begin >= 20000000);
  close_pair(&p);
}

static void abandoning_ends_every_wait(void **state) {
  (void)state;
  pair p;
  node_reply reply;
  enum { WAITS = 5 };
  waiter waiters[WAITS];
  for (int by_server = 0; by_server < 2; by_server++) {
    open_pair(&p);
    uint64_t sent = 0;
    for (; sent < SMALL_TASKS; sent++) node_mailbox_reply(&p.server, NODE_TASKS, make_reply(&reply, sent, 0));
    start(&waiters[0], &p, NODE_TASKS, fill_with_replies);
    start(&waiters[1], &p, NODE_TRANSFERS, await_command);
    start(&waiters[2], &p, NODE_CONTROL, await_command);
    start(&waiters[3], &p, NODE_CONTROL, await_control);
    start(&waiters[4], &p, NODE_LANES, await_cancellation);
    uint32_t announced = node_doorbell_announce(p.bell);
    node_mailbox_abandon(by_server ? &p.server : &p.client);
    assert_true(node_doorbell_sleep(p.bell, announced, base_deadline(soon)));
    for (int i = 0; i < WAITS; i++) assert_false(join(&waiters[i]));
    assert_true(node_mailbox_is_abandoned(by_server ? &p.client : &p.server));
    post(&p, NODE_CONTROL, 1, 0);
    assert_false(node_mailbox_await(&p.server, NODE_CONTROL, 0, INT64_MAX));
    close_pair(&p);
  }
}

static void a_server_that_nobody_wakes_looks_again(void **state) {
  (void)state;
  pair p;
  open_pair(&p);
  assert_false(node_mailbox_await(&p.server, NODE_TASKS, 0, 1000000));
  assert_false(node_mailbox_is_abandoned(&p.server));
  post(&p, NODE_TASKS, 1, 0);
  assert_true(node_mailbox_await(&p.server, NODE_TASKS, 0, 1000000));
  close_pair(&p);
}

static void a_sleep_ends_at_its_deadline(void **state) {
  (void)state;
  node_doorbell *bell = map_shared(sizeof *bell);
  int64_t begin = base_now();
  assert_false(node_doorbell_sleep(bell, node_doorbell_announce(bell), base_deadline(0.02)));
  assert_true(base_now() - begin >= 20000000);
  assert_int_equal(atomic_load(&bell->sleepers), 0);
  node_doorbell_ring(bell);
  node_doorbell_tell(bell);
  assert_int_equal(atomic_load(&bell->rings), 0); /* nobody sleeps */
  uint32_t announced = node_doorbell_announce(bell);
  node_doorbell_tell(bell);
  node_doorbell_tell(bell);
  assert_int_equal(atomic_load(&bell->rings), 1); /* once is enough for all who publish */
  node_doorbell_ring(bell);
  assert_int_equal(atomic_load(&bell->rings), 2); /* but somebody may have died before it woke anybody */
  assert_true(node_doorbell_sleep(bell, announced, base_deadline(soon)));
  munmap(bell, sizeof *bell);
}

/* --- Both sides at once --------------------------------------------------------------------------------- */

static uint32_t random_next(uint32_t *seed) { return *seed = *seed * 1664525 + 1013904223; }

/* Nothing, a moment without sleep, another thread's turn, or a short sleep: so that the other side is met awake, on its way to
** sleep, and asleep. */
static void pause_at_random(uint32_t *seed) {
  uint32_t kind = random_next(seed) >> 28, length = random_next(seed) >> 22;
  if (kind < 6) return;
  if (kind < 11)
    for (uint32_t i = 0; i < length; i++) base_relax();
  else if (kind < 14)
    sched_yield();
  else
    nanosleep(&(struct timespec){.tv_nsec = (long)length * 60}, NULL);
}

/* Answers commands with their data until one has the sequence 0. True if all of it went well. */
static int serve(node_mailbox *mailbox, uint32_t seed) {
  command_block block;
  for (;;) {
    const void *taken;
    if (!node_mailbox_await(mailbox, NODE_TASKS, seed % 2 ? 20000 : 0, INT64_MAX)) return 0;
    if (node_mailbox_take(mailbox, NODE_TASKS, &taken, NULL) != BATON_OK || !taken) return 0;
    const node_command *command = taken;
    if (command->sequence == 0) return 1;
    node_mailbox_begin(mailbox, command->sequence);
    pause_at_random(&seed);
    if (!node_mailbox_reply(mailbox, NODE_TASKS, make_reply(&block, command->sequence, command->ndata)))
      return 0;
  }
}

typedef struct server {
  pair p;
  uint32_t seed;
  int went_well;
  uint64_t sent, answered;
  pthread_t thread;
} server;

static void *serve_on_thread(void *context) {
  server *s = context;
  s->went_well = serve(&s->p.server, s->seed);
  return NULL;
}

static uint32_t length_of(uint64_t sequence) {
  return (uint32_t)(sequence % 7 == 0 ? sequence * 13 % 3000 : 0);
}

static void take_replies(server *s) {
  for (const node_reply *reply; (reply = take(&s->p.client, NODE_TASKS));) {
    assert_int_equal(reply->sequence, ++s->answered);
    assert_int_equal(reply->ndata, length_of(reply->sequence));
    assert_data(node_reply_data(reply), reply->sequence, reply->ndata);
  }
}

static int any_reply(const server *servers, int count) {
  for (int i = 0; i < count; i++)
    if (node_mailbox_has(&servers[i].p.client, NODE_TASKS)) return 1;
  return 0;
}

/* Sleeps until there is a reply; a wake-up that is lost fails the test. */
static void await_reply(const server *servers, int count) {
  node_doorbell *bell = servers->p.bell;
  int64_t deadline = base_deadline(soon);
  while (!any_reply(servers, count)) {
    uint32_t announced = node_doorbell_announce(bell);
    if (any_reply(servers, count))
      node_doorbell_withdraw(bell);
    else
      assert_true(node_doorbell_sleep(bell, announced, deadline));
  }
}

/* `most` commands at a time to each server, with pauses. */
static void converse(server *servers, int count, uint64_t commands, uint64_t most) {
  uint32_t seed = 1;
  for (uint64_t left = commands * (uint64_t)count; left > 0;) {
    server *s = &servers[random_next(&seed) % (uint32_t)count];
    if (s->sent < commands && s->sent - s->answered < most &&
        post(&s->p, NODE_TASKS, s->sent + 1, length_of(s->sent + 1))) {
      s->sent++;
      left--;
    } else if (s->sent > s->answered)
      await_reply(servers, count);
    pause_at_random(&seed);
    for (int i = 0; i < count; i++) take_replies(&servers[i]);
  }
  for (int i = 0; i < count; i++)
    for (; servers[i].answered < commands; take_replies(&servers[i])) await_reply(&servers[i], 1);
  for (int i = 0; i < count; i++) assert_true(post(&servers[i].p, NODE_TASKS, 0, 0));
}

static uint64_t commands_of_test(void) { return getenv("BATON_TEST_SMALL") ? 3000 : 10000; }

static void no_wake_up_is_lost_between_threads(void **state) {
  (void)state;
  enum { SERVERS = 3 };
  static const uint64_t most[] = {1, 20};
  for (int way = 0; way < 2; way++) {
    node_doorbell *bell = map_shared(sizeof *bell);
    server servers[SERVERS] = {{.seed = 1}, {.seed = 2}, {.seed = 3}};
    for (int i = 0; i < SERVERS; i++) {
      open_on(&servers[i].p, bell);
      assert_int_equal(0, pthread_create(&servers[i].thread, NULL, serve_on_thread, &servers[i]));
    }
    converse(servers, SERVERS, commands_of_test() / SERVERS, most[way]);
    for (int i = 0; i < SERVERS; i++) {
      uint64_t begun;
      pthread_join(servers[i].thread, NULL);
      assert_true(servers[i].went_well);
      assert_int_equal(node_mailbox_current(&servers[i].p.client, &begun), 0);
      assert_int_equal(begun, commands_of_test() / SERVERS);
      close_on(&servers[i].p);
    }
    munmap(bell, sizeof *bell);
  }
}

static void no_wake_up_is_lost_between_processes(void **state) {
  (void)state;
  server one = {.seed = 4};
  int status = 0;
  open_pair(&one.p);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* if the test fails */
    _exit(serve(&one.p.server, 5) ? 0 : 1);
  }
  converse(&one, 1, commands_of_test(), 4);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  close_pair(&one.p);
}

/* --- What both sides say of themselves ------------------------------------------------------------------ */

static void the_client_sees_what_the_server_does(void **state) {
  (void)state;
  pair p;
  node_reply reply;
  uint64_t begun = 7;
  open_pair(&p);
  assert_int_equal(node_mailbox_current(&p.client, &begun), 0);
  assert_int_equal(begun, 0);
  node_mailbox_begin(&p.server, 5);
  assert_int_equal(node_mailbox_current(&p.client, &begun), 5);
  assert_true(node_mailbox_reply(&p.server, NODE_CONTROL, make_reply(&reply, 9, 0)));
  assert_int_equal(node_mailbox_current(&p.client, &begun), 5);
  assert_true(node_mailbox_reply(&p.server, NODE_TASKS, make_reply(&reply, 5, 0)));
  assert_int_equal(node_mailbox_current(&p.client, &begun), 0);
  assert_int_equal(begun, 1);
  close_pair(&p);
}

static void the_server_sees_which_runs_are_cancelled(void **state) {
  (void)state;
  pair p;
  waiter w;
  open_pair(&p);
  assert_int_equal(node_mailbox_cancelled(&p.server), 0);
  start(&w, &p, NODE_LANES, await_cancellation);
  node_mailbox_cancel(&p.client, 12);
  assert_true(join(&w));
  assert_int_equal(node_mailbox_cancelled(&p.server), 12);
  close_pair(&p);
}

/* --- Memory that makes no sense ------------------------------------------------------------------------- */

static void assert_protocol_error(node_mailbox *mailbox, node_lane lane, const char *message) {
  baton_error err = {0};
  const void *block = mailbox;
  for (int again = 0; again < 2; again++) { /* whatever comes next, the mailbox is not believed again */
    assert_true(node_mailbox_has(mailbox, lane));
    assert_int_equal(BATON_PROTOCOL_ERROR, node_mailbox_take(mailbox, lane, &block, &err));
    assert_null(block);
    assert_string_equal(err.message, message);
    assert_non_null(err.hint);
  }
  baton_error_clear(&err);
}

/* The words of the next line that the server reads: the lap, one without use, the block. */
static uint32_t *next_line(pair *p, node_lane lane) {
  return (uint32_t *)(void *)((char *)p->server.ends[lane].in.lines +
                              p->server.ends[lane].in.at * BASE_CACHE_LINE);
}

static void breaks_a_line(size_t word, uint32_t value, const char *message) {
  pair p;
  open_pair(&p);
  assert_true(post(&p, NODE_TASKS, 1, 0));
  assert_command(&p, NODE_TASKS, 1, 0);
  assert_true(post(&p, NODE_TASKS, 2, 0));
  next_line(&p, NODE_TASKS)[word] = value;
  assert_protocol_error(&p.server, NODE_TASKS, message);
  close_pair(&p);
}

static void lines_that_make_no_sense_are_refused(void **state) {
  (void)state;
  enum { LAP, BYTES = 2, OPERATION };
  breaks_a_line(LAP, 2, "mailbox: a command on the lane for tasks makes no sense: its position");
  breaks_a_line(LAP, UINT32_MAX, "mailbox: a command on the lane for tasks makes no sense: its position");
  static const uint32_t lengths[] = {0, 4, 40, 49, 56, UINT32_MAX, 0x80000030, 0x81000008, 0x7ffffff8};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    const char *field = lengths[i] == 56 ? "ndata" : "bytes";
    char message[128];
    snprintf(message, sizeof message, "mailbox: a command on the lane for tasks makes no sense: its %s",
             field);
    breaks_a_line(BYTES, lengths[i], message);
  }
  breaks_a_line(OPERATION, 99, "mailbox: a command on the lane for tasks makes no sense: its operation");
}

static void replies_that_make_no_sense_are_refused(void **state) {
  (void)state;
  pair p;
  node_reply reply;
  open_pair(&p);
  make_reply(&reply, 1, 0)->status = BATON_STATUS_COUNT;
  assert_true(node_mailbox_reply(&p.server, NODE_TRANSFERS, &reply));
  assert_protocol_error(&p.client, NODE_TRANSFERS,
                        "mailbox: a reply on the lane for transfers makes no sense: its status");
  assert_null(take(&p.client, NODE_TASKS)); /* another lane is another matter */
  close_pair(&p);
}

static void readers_that_give_back_what_they_never_had_are_refused(void **state) {
  (void)state;
  static const uint64_t positions[] = {SMALL_TASKS + 1, UINT64_MAX, (uint64_t)1 << 63};
  for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
    pair p;
    uint64_t sent = 0;
    open_pair(&p);
    *(uint64_t *)(void *)p.client.ends[NODE_TASKS].out.back = positions[i];
    while (post(&p, NODE_TASKS, sent, 0)) sent++;
    assert_int_equal(sent, SMALL_TASKS);
    assert_protocol_error(
        &p.client, NODE_TASKS,
        "mailbox: a reply on the lane for tasks makes no sense: its position of the reader");
    close_pair(&p);
  }
}

static void memory_of_another_version_is_refused(void **state) {
  (void)state;
  static const struct {
    size_t offset;
    const char *field;
  } cases[] = {{0, "magic"},
               {8, "version"},
               {40, "size of a command"},
               {44, "size of a reply"},
               {48, "size of a value"},
               {52, "size of a config"},
               {56, "size of the mailbox"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char expected[128];
    baton_error err = {0};
    node_mailbox mailbox = {0};
    char *memory = map_shared(node_mailbox_size());
    node_mailbox_init(memory);
    memory[cases[i].offset]++;
    snprintf(expected, sizeof expected, "mailbox: the %s is not that of this version", cases[i].field);
    assert_int_equal(BATON_PROTOCOL_ERROR, node_mailbox_attach(&mailbox, memory, NULL, 1, &err));
    assert_memory_equal(err.message, expected, strlen(expected));
    assert_null(mailbox.memory);
    baton_error_clear(&err);
    munmap(memory, node_mailbox_size());
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(commands_arrive_in_order_on_each_lane),
      cmocka_unit_test(rings_are_filled_again_and_again),
      cmocka_unit_test(a_lane_holds_thousands_of_short_commands),
      cmocka_unit_test(large_blocks_pass_one_at_a_time),
      cmocka_unit_test(blocks_of_every_length_fit_an_empty_lane),
      cmocka_unit_test(a_full_ring_of_replies_holds_the_server_up),
      cmocka_unit_test(commands_wake_the_server),
      cmocka_unit_test(control_calls_are_answered_on_a_bell_of_their_own),
      cmocka_unit_test(abandoning_ends_every_wait),
      cmocka_unit_test(a_server_that_nobody_wakes_looks_again),
      cmocka_unit_test(a_sleep_ends_at_its_deadline),
      cmocka_unit_test(no_wake_up_is_lost_between_threads),
      cmocka_unit_test(no_wake_up_is_lost_between_processes),
      cmocka_unit_test(the_client_sees_what_the_server_does),
      cmocka_unit_test(the_server_sees_which_runs_are_cancelled),
      cmocka_unit_test(lines_that_make_no_sense_are_refused),
      cmocka_unit_test(replies_that_make_no_sense_are_refused),
      cmocka_unit_test(readers_that_give_back_what_they_never_had_are_refused),
      cmocka_unit_test(memory_of_another_version_is_refused),
  };
  return cmocka_run_group_tests_name("mailbox", tests, NULL, NULL);
}
