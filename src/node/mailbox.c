#include "node/mailbox.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/memory.h"
#include "base/pool.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
  LINE_DATA = BASE_CACHE_LINE - 8,
  TASK_LINES_LOG2 = 12, /* 256 KiB */
  LINES_LOG2 = 10,      /* 64 KiB */
  COMMANDS = 0,         /* the two directions */
  REPLIES = 1,
  DIRECTIONS = 2,
  PAGE = 4096,
  LEAST_PATIENCE = 16 /* the part of a look that remains when it never helps */
};

/* What the first word of a line has set that stands for a large block; the rest of the word is its length. */
static const uint32_t large_mark = 1u << 31;
static const uint64_t magic = 0x786f6220746f6e42;

struct node_line {
  BASE_ALIGNED _Atomic uint32_t lap; /* 1 + number of the lap in which it was written last */
  uint32_t unused;
  char data[LINE_DATA];
};

struct node_back {
  BASE_ALIGNED _Atomic uint64_t lines; /* that the reader has given back */
  node_doorbell bell;                  /* the writer sleeps there while the ring is full */
};

/* What both ends must agree upon. */
typedef struct mailbox_layout {
  uint64_t magic;
  char version[32];
  uint32_t command, reply, value, config, size;
} mailbox_layout;

struct node_mailbox_memory {
  mailbox_layout layout; /* written by init only */
  BASE_ALIGNED _Atomic uint32_t abandoned;
  _Atomic uint32_t cancelled;
  BASE_ALIGNED _Atomic uint64_t current, begun;
  node_doorbell commands[NODE_LANES]; /* the server sleeps there, for each lane */
  node_doorbell control;              /* and the client for a reply on the control lane */
  node_doorbell cancels;              /* and the server for a change of `cancelled` */
  node_back back[NODE_LANES][DIRECTIONS];
};

/* --- Layout --------------------------------------------------------------------------------------------- */

static uint32_t lines_log2(int lane) { return lane == NODE_TASKS ? TASK_LINES_LOG2 : LINES_LOG2; }

/* Behind the fixed part lie the rings, then a place for a large block of each. */
static uint64_t ring_offset(int lane, int direction) {
  uint64_t offset = (sizeof(node_mailbox_memory) + PAGE - 1) / PAGE * PAGE;
  for (int i = 0; i < lane; i++) offset += DIRECTIONS * sizeof(node_line) << lines_log2(i);
  return offset + ((uint64_t)direction * sizeof(node_line) << lines_log2(lane));
}

static uint64_t large_offset(int lane, int direction) {
  return ring_offset(NODE_LANES, 0) + (uint64_t)(lane * DIRECTIONS + direction) * NODE_DATA_MOST;
}

uint64_t node_mailbox_size(void) { return large_offset(NODE_LANES, 0); }

static mailbox_layout current_layout(void) {
  mailbox_layout layout = {.magic = magic,
                           .command = sizeof(node_command),
                           .reply = sizeof(node_reply),
                           .value = sizeof(node_value),
                           .config = sizeof(node_config),
                           .size = (uint32_t)node_mailbox_size()};
  snprintf(layout.version, sizeof layout.version, "%s", BATON_VERSION);
  return layout;
}

void node_mailbox_init(void *memory) {
  node_mailbox_memory *shared = memory;
  shared->layout = current_layout();
}

static const char *wrong_layout(const mailbox_layout *layout) {
  mailbox_layout own = current_layout();
  if (layout->magic != own.magic) return "magic";
  if (memcmp(layout->version, own.version, sizeof own.version) != 0) return "version";
  if (layout->command != own.command) return "size of a command";
  if (layout->reply != own.reply) return "size of a reply";
  if (layout->value != own.value) return "size of a value";
  if (layout->config != own.config) return "size of a config";
  return layout->size != own.size ? "size of the mailbox" : NULL;
}

static node_ring ring_of(node_mailbox_memory *memory, int lane, int direction, int writes) {
  char *begin = (char *)memory;
  return (node_ring){.lines = (node_line *)(void *)(begin + ring_offset(lane, direction)),
                     .back = &memory->back[lane][direction],
                     .large = begin + large_offset(lane, direction),
                     .limit = writes ? (uint64_t)1 << lines_log2(lane) : 0,
                     .shift = lines_log2(lane)};
}

baton_status node_mailbox_attach(node_mailbox *mailbox, void *memory, node_doorbell *bell, int is_server,
                                 baton_error *err) {
  node_mailbox_memory *shared = memory;
  mailbox_layout layout = shared->layout;
  const char *wrong = wrong_layout(&layout);
  if (wrong) {
    baton_error_set(err, BATON_PROTOCOL_ERROR, "mailbox: the %s is not that of this version (%s)", wrong,
                    BATON_VERSION);
    return baton_error_text(err, BATON_FIELD_HINT, "the worker program and the library must be of one build");
  }
  *mailbox = (node_mailbox){
      .memory = shared, .bell = bell, .is_server = is_server, .may_look = base_cpu_count() > 1};
  for (int lane = 0; lane < NODE_LANES; lane++) {
    node_end *end = &mailbox->ends[lane];
    end->out = ring_of(shared, lane, is_server ? REPLIES : COMMANDS, 1);
    end->in = ring_of(shared, lane, is_server ? COMMANDS : REPLIES, 0);
    end->patience = BASE_LOOK;
  }
  return BATON_OK;
}

void node_mailbox_detach(node_mailbox *mailbox) {
  for (int lane = 0; lane < NODE_LANES; lane++) base_free(mailbox->ends[lane].scratch);
  *mailbox = (node_mailbox){0};
}

/* --- Writing -------------------------------------------------------------------------------------------- */

static uint64_t ring_lines(const node_ring *ring) { return (uint64_t)1 << ring->shift; }
static uint32_t lap_of(const node_ring *ring, uint64_t at) { return (uint32_t)(at >> ring->shift) + 1; }
static node_line *line_at(const node_ring *ring, uint64_t at) {
  return &ring->lines[at & (ring_lines(ring) - 1)];
}

/* What the reader has given back may be written again. */
static void look_for_room(node_end *end) {
  node_ring *ring = &end->out;
  uint64_t back = atomic_load(&ring->back->lines); /* seq_cst: the look after an announcement */
  if (back > ring->at || back + ring_lines(ring) < ring->limit)
    end->wrong = "position of the reader";
  else
    ring->limit = back + ring_lines(ring);
}

static uint64_t lines_of(uint64_t bytes) { return (bytes + LINE_DATA - 1) / LINE_DATA; }

static int is_large(const node_ring *ring, uint64_t bytes) { return lines_of(bytes) > ring_lines(ring) / 2; }

static int fits(const node_ring *ring, uint64_t bytes) {
  uint64_t given_back = ring->limit - ring_lines(ring);
  if (is_large(ring, bytes)) return ring->limit > ring->at && given_back >= ring->large_at;
  return ring->limit - ring->at >= lines_of(bytes);
}

static int has_room(node_end *end, uint64_t bytes) {
  if (fits(&end->out, bytes)) return 1;
  look_for_room(end);
  return fits(&end->out, bytes);
}

/* Writes a block but for the lap of its first line, which publishes it. */
static void write_lines(const node_ring *ring, const char *block, uint64_t bytes) {
  uint64_t at = ring->at + 1, done = LINE_DATA;
  memcpy(line_at(ring, ring->at)->data, block, bytes < LINE_DATA ? bytes : LINE_DATA);
  for (; done < bytes; done += LINE_DATA, at++) {
    node_line *line = line_at(ring, at);
    memcpy(line->data, block + done, bytes - done < LINE_DATA ? bytes - done : LINE_DATA);
    atomic_store_explicit(&line->lap, lap_of(ring, at), memory_order_relaxed); /* published with the first */
  }
}

/* One line stands for the block. */
static void write_large(node_ring *ring, const char *block, uint64_t bytes) {
  uint32_t mark = large_mark | (uint32_t)bytes;
  memcpy(ring->large, block, bytes);
  memcpy(line_at(ring, ring->at)->data, &mark, sizeof mark);
  ring->large_at = ring->at + 1;
}

static int put(node_end *end, const void *block, uint64_t bytes, int later) {
  node_ring *ring = &end->out;
  assert(bytes <= NODE_DATA_MOST);
  if (end->wrong || !has_room(end, bytes)) return 0;
  int large = is_large(ring, bytes);
  large ? write_large(ring, block, bytes) : write_lines(ring, block, bytes);
  _Atomic uint32_t *lap = &line_at(ring, ring->at)->lap;
  if (later) /* the ring of the bell orders it */
    atomic_store_explicit(lap, lap_of(ring, ring->at), memory_order_release);
  else
    atomic_store(lap, lap_of(ring, ring->at));
  ring->at += large ? 1 : lines_of(bytes);
  return 1;
}

int node_mailbox_post(node_mailbox *mailbox, node_lane lane, const node_command *command, int later) {
  assert(!mailbox->is_server);
  if (!put(&mailbox->ends[lane], command, command->bytes, later)) return 0;
  if (!later) node_doorbell_tell(&mailbox->memory->commands[lane]);
  return 1;
}

void node_mailbox_flush(node_mailbox *mailbox, node_lane lane) {
  node_doorbell_ring(&mailbox->memory->commands[lane]);
}

/* False: there will never be room. */
static int await_room(const node_mailbox *mailbox, node_end *end, uint64_t bytes) {
  node_doorbell *bell = &end->out.back->bell;
  uint32_t announced = node_doorbell_announce(bell);
  int ends = node_mailbox_is_abandoned(mailbox) || end->wrong;
  if (ends || has_room(end, bytes))
    node_doorbell_withdraw(bell);
  else
    node_doorbell_sleep(bell, announced,
                        INT64_MAX); /* ends with the mailbox, which is abandoned when a side dies */
  return !ends;
}

int node_mailbox_reply(node_mailbox *mailbox, node_lane lane, const node_reply *reply) {
  node_mailbox_memory *memory = mailbox->memory;
  node_end *end = &mailbox->ends[lane];
  assert(mailbox->is_server);
  while (!put(end, reply, reply->bytes, 0))
    if (!await_room(mailbox, end, reply->bytes)) return 0;
  if (lane == NODE_TASKS) atomic_store_explicit(&memory->current, 0, memory_order_relaxed);
  if (lane == NODE_CONTROL)
    node_doorbell_tell(&memory->control);
  else if (mailbox->bell)
    node_doorbell_tell(mailbox->bell);
  return 1;
}

/* --- Reading -------------------------------------------------------------------------------------------- */

static const char *lane_name(node_lane lane) {
  return lane == NODE_TASKS ? "tasks" : lane == NODE_TRANSFERS ? "transfers" : "control calls";
}

static baton_status refuse(const node_mailbox *mailbox, node_lane lane, baton_error *err) {
  baton_error_set(err, BATON_PROTOCOL_ERROR, "mailbox: a %s on the lane for %s makes no sense: its %s",
                  mailbox->is_server ? "command" : "reply", lane_name(lane), mailbox->ends[lane].wrong);
  baton_error_text(err, BATON_FIELD_HINT,
                   "something wrote into memory that is not its own, perhaps a kernel of that worker");
  return BATON_PROTOCOL_ERROR;
}

/* The word is one of memory that the other side may still change. */
static uint32_t first_word(const node_ring *ring) {
  uint32_t word;
  memcpy(&word, line_at(ring, ring->at)->data, sizeof word);
  return word;
}

static baton_status make_room(node_end *end, uint64_t bytes, baton_error *err) {
  if (bytes <= end->room) return BATON_OK;
  uint64_t room = end->room ? 2 * end->room : PAGE;
  while (room < bytes) room *= 2;
  char *scratch = base_realloc(end->scratch, room);
  if (!scratch) return base_out_of_memory(err, "a block of a mailbox");
  end->scratch = scratch;
  end->room = room;
  return BATON_OK;
}

/* Of one line always all: a copy of fixed size is quicker, and there is room for it. */
static void read_lines(const node_ring *ring, char *scratch, uint64_t bytes) {
  uint64_t at = ring->at;
  if (bytes <= LINE_DATA) {
    memcpy(scratch, line_at(ring, at)->data, LINE_DATA);
    return;
  }
  for (uint64_t done = 0; done < bytes; done += LINE_DATA, at++)
    memcpy(scratch + done, line_at(ring, at)->data, bytes - done < LINE_DATA ? bytes - done : LINE_DATA);
}

/* A quarter of the ring at a time, and the place of a large block at once: so the line of the writer is seldom touched, and
** what waits for half a ring, or for that place, gets it. */
static void give_back(node_ring *ring, uint64_t lines, int large) {
  ring->at += lines;
  if (!large && ring->at - ring->limit < ring_lines(ring) / 4) return;
  ring->limit = ring->at;
  atomic_store(&ring->back->lines, ring->at);
  node_doorbell_tell(&ring->back->bell);
}

/* Copies the block that begins with `word` and gives its lines back. False: end->wrong says why. */
static baton_status copy_block(node_end *end, uint32_t word, uint64_t *bytes, baton_error *err) {
  node_ring *ring = &end->in;
  int large = (word & large_mark) != 0;
  *bytes = word & ~large_mark;
  if (*bytes < sizeof(uint64_t) || *bytes % sizeof(uint64_t) || *bytes > NODE_DATA_MOST ||
      large != is_large(ring, *bytes)) {
    end->wrong = "bytes";
    return BATON_OK;
  }
  BATON_TRY(make_room(end, *bytes, err));
  if (large)
    memcpy(end->scratch, ring->large, *bytes);
  else
    read_lines(ring, end->scratch, *bytes);
  give_back(ring, large ? 1 : lines_of(*bytes), large);
  return BATON_OK;
}

static uint32_t next_lap(const node_ring *ring) {
  return atomic_load(&line_at(ring, ring->at)->lap); /* seq_cst: the look after an announcement */
}

baton_status node_mailbox_take(node_mailbox *mailbox, node_lane lane, const void **out, baton_error *err) {
  node_end *end = &mailbox->ends[lane];
  const node_ring *ring = &end->in;
  uint64_t bytes = 0;
  uint32_t lap = next_lap(ring), expected = lap_of(ring, ring->at);
  *out = NULL;
  if (lap == expected - 1 && !end->wrong) return BATON_OK;
  if (lap != expected && !end->wrong) end->wrong = "position";
  if (!end->wrong) BATON_TRY(copy_block(end, first_word(ring), &bytes, err));
  if (!end->wrong)
    (void)(mailbox->is_server ? node_command_check : node_reply_check)(end->scratch, bytes, &end->wrong);
  if (end->wrong) return refuse(mailbox, lane, err);
  *out = end->scratch;
  return BATON_OK;
}

int node_mailbox_has(const node_mailbox *mailbox, node_lane lane) {
  const node_end *end = &mailbox->ends[lane];
  return end->wrong || next_lap(&end->in) != lap_of(&end->in, end->in.at) - 1;
}

/* --- Waiting -------------------------------------------------------------------------------------------- */

/* Where looks were in vain the next one is shorter, down to a part that costs less than the sleep; a sleep that a look of full
** length would have spared makes it long again. */
static int look(const node_mailbox *mailbox, node_lane lane, int64_t longest) {
  const node_end *end = &mailbox->ends[lane];
  int64_t patience = end->patience < longest ? end->patience : longest;
  if (!mailbox->may_look || patience <= 0) return 0;
  base_futex_look(&line_at(&end->in, end->in.at)->lap, lap_of(&end->in, end->in.at) - 1, patience);
  return node_mailbox_has(mailbox, lane);
}

/* False: the deadline has passed. */
static int sleep_until_told(const node_mailbox *mailbox, node_lane lane, node_doorbell *bell,
                            int64_t deadline) {
  uint32_t announced = node_doorbell_announce(bell);
  if (!node_mailbox_has(mailbox, lane) && !node_mailbox_is_abandoned(mailbox))
    return node_doorbell_sleep(bell, announced, deadline);
  node_doorbell_withdraw(bell);
  return 1;
}

/* Looks for `longest` ns at most, then sleeps for `sleep` ns at most; INT64_MAX: without end. */
static int await(node_mailbox *mailbox, node_lane lane, node_doorbell *bell, int64_t longest, int64_t sleep) {
  node_end *end = &mailbox->ends[lane];
  if (node_mailbox_is_abandoned(mailbox)) return 0;
  if (node_mailbox_has(mailbox, lane)) return 1;
  if (look(mailbox, lane, longest)) {
    end->patience = longest;
    return 1;
  }
  int64_t begin = base_now(), deadline = sleep < INT64_MAX - begin ? begin + sleep : INT64_MAX;
  while (!node_mailbox_is_abandoned(mailbox)) {
    if (node_mailbox_has(mailbox, lane)) {
      end->patience = base_now() - begin < longest ? longest : end->patience / 2;
      if (end->patience < longest / LEAST_PATIENCE) end->patience = longest / LEAST_PATIENCE;
      return 1;
    }
    if (!sleep_until_told(mailbox, lane, bell, deadline)) return node_mailbox_has(mailbox, lane);
  }
  return 0;
}

int node_mailbox_await(node_mailbox *mailbox, node_lane lane, int64_t longest, int64_t sleep) {
  return await(mailbox, lane, &mailbox->memory->commands[lane], longest, sleep);
}

int node_mailbox_await_control(node_mailbox *mailbox, int64_t deadline) {
  int64_t sleep = deadline == INT64_MAX ? deadline : deadline - base_now();
  return await(mailbox, NODE_CONTROL, &mailbox->memory->control, BASE_LOOK, sleep);
}

/* --- What both sides say of themselves ------------------------------------------------------------------ */

void node_mailbox_abandon(node_mailbox *mailbox) {
  node_mailbox_memory *memory = mailbox->memory;
  atomic_store_explicit(&memory->abandoned, 1, memory_order_release);
  for (int lane = 0; lane < NODE_LANES; lane++) {
    node_doorbell_ring(&memory->commands[lane]);
    for (int direction = 0; direction < DIRECTIONS; direction++)
      node_doorbell_ring(&memory->back[lane][direction].bell);
  }
  node_doorbell_ring(&memory->control);
  node_doorbell_ring(&memory->cancels);
  if (mailbox->bell) node_doorbell_ring(mailbox->bell);
}

int node_mailbox_is_abandoned(const node_mailbox *mailbox) {
  return atomic_load_explicit(&mailbox->memory->abandoned, memory_order_acquire) != 0;
}

void node_mailbox_cancel(node_mailbox *mailbox, uint32_t run) {
  atomic_store_explicit(&mailbox->memory->cancelled, run, memory_order_release);
  node_doorbell_ring(&mailbox->memory->cancels);
}

int node_mailbox_await_cancel(node_mailbox *mailbox, uint32_t seen) {
  node_doorbell *bell = &mailbox->memory->cancels;
  for (;;) {
    uint32_t announced = node_doorbell_announce(bell);
    if (node_mailbox_is_abandoned(mailbox) || node_mailbox_cancelled(mailbox) != seen) break;
    node_doorbell_sleep(bell, announced, INT64_MAX);
  }
  node_doorbell_withdraw(bell);
  return node_mailbox_cancelled(mailbox) != seen; /* a change just before the end counts */
}

uint32_t node_mailbox_cancelled(const node_mailbox *mailbox) {
  return atomic_load_explicit(&mailbox->memory->cancelled, memory_order_acquire);
}

void node_mailbox_begin(node_mailbox *mailbox, uint64_t sequence) {
  node_mailbox_memory *memory = mailbox->memory;
  uint64_t begun = atomic_load_explicit(&memory->begun, memory_order_relaxed); /* its only writer */
  atomic_store_explicit(&memory->current, sequence, memory_order_relaxed);
  atomic_store_explicit(&memory->begun, begun + 1, memory_order_release); /* with its sequence */
}

uint64_t node_mailbox_current(const node_mailbox *mailbox, uint64_t *begun) {
  *begun = atomic_load_explicit(&mailbox->memory->begun, memory_order_acquire);
  return atomic_load_explicit(&mailbox->memory->current, memory_order_relaxed);
}
