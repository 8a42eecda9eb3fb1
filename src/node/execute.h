/* node/execute.h - the executor from the inside. Private to the files of the executor. */
#ifndef NODE_EXECUTE_H
#define NODE_EXECUTE_H

#include "chip/program/program.h"
#include "chip/worker.h"
#include "node/executor.h"
#include "node/numbers.h"
#include <pthread.h>

enum { NODE_CACHED_PROGRAMS = 64 }; /* a power of two */

/* One program that the node has registered. Belongs to the list of the executor from then on; when it is unregistered it goes
** to the list of retired ones, and the thread of the task lane, which may be using it, frees those. */
typedef struct node_program {
  uint32_t callable;
  baton_program *program; /* its own hold */
  baton_handle handle;    /* on the chip; 0: a function of the host */
  struct node_program *older, *newer, *retired;
} node_program;

/* What the thread of one lane works with. */
typedef struct node_executor_lane {
  node_reply *reply; /* of the last command */
  uint64_t room;     /* bytes of it */
  baton_error err;
  float took_us;               /* what the last measured command took */
  uint32_t unmeasured;         /* that come before the next measured one */
  char apart[BASE_CACHE_LINE]; /* from the next lane */
} node_executor_lane;

/* The arguments of one call, on the thread of the task lane. */
typedef struct node_arguments {
  uint32_t capacity;
  baton_view *views;
  baton_argument *items;
  baton_value *values;
} node_arguments;

struct node_executor {
  node_executor_lane lanes[NODE_LANES];
  baton_worker *chip; /* NULL: none */
  baton_node *node;   /* NULL: none */
  const node_script_calls *scripts;
  void *state; /* of the scripts; opened at the first call, on the thread of the task lane */
  node_memory_map memory;
  uint32_t worker;
  int in_process;
  double deadline; /* of runs that name none */
  /* the task lane: */
  node_feed feed;
  node_arguments arguments;
  node_program *cache[NODE_CACHED_PROGRAMS]; /* by the low bits of the number; good while … */
  uint32_t changes_seen;                     /* … this is `changes` */
  node_bytes result;                         /* of scripts */
  /* shared: */
  pthread_mutex_t lock; /* guards what follows */
  node_numbers programs, buffers;
  node_program *latest, *retired;
  _Atomic uint32_t changes;     /* of the programs */
  pthread_mutex_t running_lock; /* guards the rest; taken before the locks of the chip */
  uint32_t running, cancelled;  /* the run whose task the task lane is in; the last one that was cancelled */
  int is_running, in_script;
};

/* Room for data in the reply of this lane, which it has then. */
BATON_MUST_CHECK baton_status node_reply_room(node_executor_lane *lane, uint64_t ndata, char **data,
                                              baton_error *err);

/* The error of the lane goes as data of its reply; without memory as much of it as there is room for. */
void node_reply_failure(node_executor *executor, node_executor_lane *lane, baton_status status);

/* The first byte of the host memory of a value, in this process. */
BATON_MUST_CHECK baton_status node_map_view(const node_executor *executor, const node_value *value,
                                            baton_view *view, baton_error *err);

/* --- store.c: programs and buffers under their numbers --- */

/* On the task lane: the program, which lives until the next call of this. `stale_handle` if there is none. */
BATON_MUST_CHECK baton_status node_find_program(node_executor *executor, uint32_t callable,
                                                node_program **out, baton_error *err);
/* A use of the buffer, given back by chip_buffer_unuse. `stale_handle` if there is none. */
BATON_MUST_CHECK baton_status node_use_buffer(node_executor *executor, uint64_t number, baton_buffer **out,
                                              baton_error *err);
/* Takes over a live allocation of the device. */
BATON_MUST_CHECK baton_status node_adopt_buffer(node_executor *executor, const node_kept *kept,
                                                baton_error *err);
void node_store_close(node_executor *executor);

baton_status node_do_register(node_executor *executor, node_executor_lane *lane, const node_command *command,
                              baton_error *err);
baton_status node_do_unregister(node_executor *executor, node_executor_lane *lane,
                                const node_command *command, baton_error *err);
baton_status node_do_malloc(node_executor *executor, node_executor_lane *lane, const node_command *command,
                            baton_error *err);
baton_status node_do_free(node_executor *executor, node_executor_lane *lane, const node_command *command,
                          baton_error *err);
baton_status node_do_copy(node_executor *executor, node_executor_lane *lane, const node_command *command,
                          baton_error *err);

/* --- call.c: programs, functions of the host, scripts --- */

baton_status node_do_program(node_executor *executor, node_executor_lane *lane, const node_command *command,
                             baton_error *err);
baton_status node_do_script(node_executor *executor, node_executor_lane *lane, const node_command *command,
                            baton_error *err);
/* Builds the graph of a program that came as a script, on the thread of the task lane. */
void node_build_graph(baton_orch *o, const baton_args *args);
/* The same for a command that is fed: asks for the calls until the graph has ended. A failure is left in `o`. */
void node_build_fed(node_executor *executor, node_executor_lane *lane, uint64_t sequence, baton_orch *o,
                    const baton_args *args);
void node_calls_close(node_executor *executor);

#endif
