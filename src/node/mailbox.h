/* node/mailbox.h - commands to one server and its replies, through memory that both share.
**
** The server is a thread of this process or a child. There are lanes for tasks, for transfers (memory and copies
** of runs) and for control calls, so that none waits for another; each has a ring of commands one way and a ring of replies the
** other. A ring has one writer and one reader at a time; blocks are copied in and out whole, so
** neither side ever looks at a block that the other can still change. What comes out of a ring has been checked
** (node/command.h); a ring whose positions make no sense, or a block that does not pass, is `protocol_error`, and that mailbox
** is used no more.
**
** Rings. A ring is an array of cache lines; each begins with the number of the lap in which it was written, so a small block
** and the word that publishes it are one line, and to look for a block touches no other. A block takes as many lines
** as it needs; the lap of its first line is written last (release) and read first (acquire). Lines belong to the writer until
** then, from then on to the reader, who gives them back a quarter of the ring at a time. The position of each side is a number
** of its own that only grows; nothing that the other side writes changes it. A block of more than half a ring lies in memory
** beside the ring, one at a time, and one line of the ring stands for it: so whatever is not larger than NODE_DATA_MOST passes,
** and always fits a lane in which nothing is left.
**
** Waiting. The server sleeps on a doorbell of its lane, the client on the doorbell of the node, one for all of its mailboxes.
** Whoever publishes a block looks whether the other side sleeps, after it (seq_cst on both sides), and rings only then. A wait
** looks for a while first, if there is a CPU for that. */
#ifndef NODE_MAILBOX_H
#define NODE_MAILBOX_H

#include "base/atomic.h"
#include "node/command.h"

/* Lies in memory that all sides map; all zero at first. */
typedef struct node_doorbell {
  BASE_ALIGNED _Atomic uint32_t rings;
  _Atomic uint32_t sleepers; /* announcements that have not ended */
  _Atomic uint32_t rung;     /* since the last announcement: somebody wakes the sleepers */
} node_doorbell;

/* Wakes who sleeps there; without a system call if nobody does. What was written before is seen by whoever looks for it after an
** announcement that this does not wake. Any thread, any process. */
void node_doorbell_ring(node_doorbell *bell);

/* The same after a seq_cst store that publishes something, for one of many: no system call either if another thread is waking them.
** That one may die before it does, so who notices a death rings. */
void node_doorbell_tell(node_doorbell *bell);

/* To sleep until it rings: announce, then look for work once more, then sleep with what the announcement returned, or withdraw.
** Who publishes after the announcement rings. `deadline` as in base_futex_wait; false: it has passed. Each announcement ends
** with one sleep or one withdrawal; a sleep may end for no reason. Any number of threads. */
uint32_t node_doorbell_announce(node_doorbell *bell);
int node_doorbell_sleep(node_doorbell *bell, uint32_t announced, int64_t deadline);
void node_doorbell_withdraw(node_doorbell *bell);

typedef enum node_lane { NODE_TASKS, NODE_TRANSFERS, NODE_CONTROL, NODE_LANES } node_lane;

typedef struct node_mailbox_memory node_mailbox_memory; /* the shared part, private to mailbox.c */
typedef struct node_line node_line;
typedef struct node_back node_back;

/* One side's end of a ring; positions are lines since the beginning. */
typedef struct node_ring {
  node_line *lines;
  node_back *back;   /* where the reader says what it gives back */
  char *large;       /* beside the ring */
  uint64_t at;       /* the next line to write, or to read */
  uint64_t limit;    /* the writer: lines below are free; the reader: lines below are given back */
  uint64_t large_at; /* the writer: behind the line of the last large block */
  uint32_t shift;    /* log2 of the lines of the ring */
} node_ring;

/* One side's end of a lane: of the thread that has that lane. */
typedef struct node_end {
  node_ring out, in;
  char *scratch; /* the private copy of the last block that was taken; grows to the largest block */
  uint64_t room;
  const char *wrong; /* what makes no sense; NULL: nothing yet */
  int64_t patience;  /* ns: how long the next wait looks before it sleeps */
  char apart[BASE_CACHE_LINE];
} node_end;

/* One side's end of a mailbox. Zero-initialised; node_mailbox_attach fills it in. */
typedef struct node_mailbox {
  node_mailbox_memory *memory;
  node_doorbell *bell; /* of the node: replies ring it */
  int is_server;
  int may_look; /* there is more than one CPU */
  char apart[BASE_CACHE_LINE];
  node_end ends[NODE_LANES];
} node_mailbox;

/* Bytes of shared memory, the same in every build of one version: some 100 MiB, of which all but the rings (1 MiB) is touched by
** large blocks only. So it belongs into a sparse mapping, and is not to be cleared by hand. */
uint64_t node_mailbox_size(void);
/* Client, once: `memory` is zero and page-aligned. */
void node_mailbox_init(void *memory);
/* Each side, once: the error says which field of the memory is wrong (magic, version, sizes). `bell` NULL: that of a server whose
** client never sleeps. */
BATON_MUST_CHECK baton_status node_mailbox_attach(node_mailbox *mailbox, void *memory, node_doorbell *bell,
                                                  int is_server, baton_error *err);
/* Zero again; the memory is the caller's. */
void node_mailbox_detach(node_mailbox *mailbox);

/* Client: copies a command of at most NODE_DATA_MOST bytes into a lane. False: there is no room now; there is when
** a reply has come. One thread a lane at a time. `later`: does not wake the server; node_mailbox_flush does, for several posts at
** once. */
int node_mailbox_post(node_mailbox *mailbox, node_lane lane, const node_command *command, int later);
void node_mailbox_flush(node_mailbox *mailbox, node_lane lane);

/* The next block of a lane, as a private copy that lives until the next take of that lane; NULL in *out: none. The client takes
** replies, the server commands. `protocol_error` names the field; it is what every later take of the lane returns, too. */
BATON_MUST_CHECK baton_status node_mailbox_take(node_mailbox *mailbox, node_lane lane, const void **out,
                                                baton_error *err);

/* True if a take would find something, or fail; one load. After node_doorbell_announce what this does not see will ring. */
int node_mailbox_has(const node_mailbox *mailbox, node_lane lane);

/* Server: copies a reply of at most NODE_DATA_MOST bytes into a lane and rings the node if it sleeps (control: who awaits it).
** Waits while the ring is full (the client reads sooner or later, or dies: then it is woken by node_mailbox_abandon).
** False: abandoned. */
int node_mailbox_reply(node_mailbox *mailbox, node_lane lane, const node_reply *reply);

/* Server: waits for a command. Looks for `look` ns at most, less where looks were in vain, then sleeps for `sleep` ns at most
** (INT64_MAX: without end). False: nothing came in that time, or abandoned. */
int node_mailbox_await(node_mailbox *mailbox, node_lane lane, int64_t look, int64_t sleep);

/* Client: waits for a reply on the control lane, on a doorbell of that lane. False: the deadline has passed, or abandoned. */
int node_mailbox_await_control(node_mailbox *mailbox, int64_t deadline);

/* Either side, any thread: every wait above ends, now and later, and the node's bell rings. For the death of one side and for the
** end. */
void node_mailbox_abandon(node_mailbox *mailbox);
int node_mailbox_is_abandoned(const node_mailbox *mailbox);

/* Commands of runs up to this number are not begun any more. Client writes, server reads. */
void node_mailbox_cancel(node_mailbox *mailbox, uint32_t run);
uint32_t node_mailbox_cancelled(const node_mailbox *mailbox);
/* Server: waits until the number is not `seen`. One thread. False: it is, and the mailbox is abandoned. */
int node_mailbox_await_cancel(node_mailbox *mailbox, uint32_t seen);

/* What the server is doing, for dumps and for who finds it dead: the sequence of the command on the task lane that it has begun
** and not answered, 0: none; and the number of commands that it has begun. The server begins; its reply on that lane ends, just
** after it is published: so a sequence whose reply was taken is none. */
void node_mailbox_begin(node_mailbox *mailbox, uint64_t sequence);
uint64_t node_mailbox_current(const node_mailbox *mailbox, uint64_t *begun);

#endif
