/* node/command.h - what a worker is asked to do, and what it answers: flat, so that it crosses to another process by copying
** its bytes.
**
** A command is one block: the header, `nvalues` values, then `ndata` bytes. So is a reply. Numbers are those of this machine;
** both ends are one build, which the handshake of the mailbox checks. Nothing in a block is believed before
** node_command_check or node_reply_check has passed over a private copy of it. */
#ifndef NODE_COMMAND_H
#define NODE_COMMAND_H

#include <baton/node.h>

typedef enum node_operation {
  NODE_CALL_PROGRAM = 1, /* `callable`: a device program, or one with a function of the host; data: nothing */
  NODE_CALL_SCRIPT,      /* data: a Lua function with its arguments, as bind/ packs it; values: its tensors */
  NODE_COPY_TO,          /* values: the buffer's tensor, the host tensor; lengths in `size` */
  NODE_COPY_FROM,        /* values: the host tensor, the buffer's tensor */
  NODE_MALLOC,           /* `buffer`, `size` */
  NODE_FREE,             /* `buffer` */
  /* the calls are on the task lane, those four on the lane for transfers; the control lane takes them, and: */
  NODE_REGISTER, /* `callable`, data: a packed program (chip/program/pack.h); without data, to a thread of this process
                       only: `buffer` is the address of the program, of which the executor takes a hold */
  NODE_UNREGISTER,  /* `callable` */
  NODE_SETUP_ARENA, /* data: baton_arena; reply data: uint32_t changed */
  NODE_STATS,       /* reply data: baton_stats */
  NODE_DUMP,        /* reply data: text */
  NODE_PING,        /* answered from the control lane while a task runs */
  NODE_END,         /* the server answers, and ends when the other lanes are empty */
  NODE_GRAPH, /* on the task lane while a program runs there that is fed, for a reply that asks, with the same sequence; data:
                 calls of its graph (chip/dictation.h) */
  NODE_OPERATION_COUNT
} node_operation;

typedef enum node_value_kind { NODE_HOST_TENSOR = 1, NODE_BUFFER_TENSOR, NODE_SCALAR } node_value_kind;

/* One argument. `view.data` is an address of the sender for host tensors, and the distance in bytes from the beginning of
** the buffer for those in child memory. */
typedef struct node_value {
  uint8_t kind;  /* node_value_kind */
  uint8_t tag;   /* baton_tag */
  uint8_t dtype; /* scalars */
  uint8_t unused;
  uint32_t
      segment; /* host tensors: 1 + number of the sender's segment; 0: memory that only the sender's process has */
  uint64_t offset;  /* host tensors: byte of the segment where the lowest element of the view begins */
  uint64_t bytes;   /* host tensors: from there to behind the highest element */
  uint64_t address; /* … and the address of that first byte in the sender */
  uint64_t buffer;  /* child memory: its number */
  union {
    double f64;
    int64_t i64;
    uint64_t u64;
  } scalar;
  baton_view view;
} node_value;

/* baton_config without pointers. */
typedef struct node_config {
  uint32_t ring_task_window, ring_dep_pool;
  uint64_t ring_heap;
  double deadline, timeout, stream_timeout, element_timeout;
  char runtime[32]; /* "": the first that fits */
} node_config;

enum {
  NODE_VALUES_MOST = 1024,   /* of one command */
  NODE_DATA_MOST = 16 << 20, /* bytes of one command or reply, its data included */
  NODE_CONFIG = 1,           /* flag: `config` is meant and stands behind the header */
  NODE_REPORT =
      2, /* flag of NODE_CALL_PROGRAM: the data of the reply is a node_report if the status is BATON_OK */
  NODE_FED =
      4 /* flag of NODE_CALL_PROGRAM: who asks dictates the graph; `size` is the number of one that may be kept, or 0 */
};

/* The data of a reply that asks, if the last call of the block has read an element. */
typedef struct node_element {
  uint32_t dtype, unused;
  uint64_t value;
} node_element;

/* What became of a call of a device program. */
typedef struct node_report {
  baton_timing timing;
  baton_stats stats; /* of the chip, since its worker was started */
} node_report;

typedef struct node_command {
  uint32_t bytes; /* of the whole block, a multiple of 8 */
  uint16_t operation;
  uint16_t flags;
  uint64_t sequence; /* comes back in the reply */
  uint32_t
      run; /* number of the run that it belongs to; one at or below the cancelled number is not begun; 0: none */
  uint32_t callable;
  uint64_t buffer, size;
  uint32_t nvalues, ndata;
} node_command;

typedef struct node_reply {
  uint32_t bytes;    /* of the whole block, a multiple of 8 */
  uint32_t status;   /* baton_status; not BATON_OK: data is a packed error */
  uint64_t sequence; /* of the command */
  uint16_t lost;     /* the worker must be restarted before it runs device programs again */
  uint16_t
      asks; /* not the last reply to this command: wants a block of its graph, or the last one, if that had the end in it or
                    the status is a failure, was carried out */
  uint32_t ndata;
  float device_us; /* of a device program */
  float host_us;   /* in the worker; of brief commands most say what one shortly before them took */
} node_reply;

/* Where the parts of a block stand. */
static inline const node_config *node_command_config(const node_command *command) {
  return command->flags & NODE_CONFIG ? (const node_config *)(const void *)(command + 1) : NULL;
}
static inline node_value *node_command_values(const node_command *command) {
  const char *at = (const char *)(command + 1);
  return (node_value *)(void *)(at + (command->flags & NODE_CONFIG ? sizeof(node_config) : 0));
}
static inline char *node_command_data(const node_command *command) {
  return (char *)(node_command_values(command) + command->nvalues);
}
static inline char *node_reply_data(const node_reply *reply) { return (char *)(reply + 1); }

/* Bytes of a block, rounded up to 8. */
uint64_t node_command_bytes(int has_config, uint32_t nvalues, uint64_t ndata);
uint64_t node_reply_bytes(uint64_t ndata);

/* True if a block of `bytes` readable bytes is a command, or a reply: sizes add up, kinds and numbers are in their ranges, views
** have at most BATON_MAX_DIMS dimensions and reach exactly what `bytes` of the value says. Otherwise *field names what is wrong
** (static text). They read only these bytes and never fail otherwise. */
int node_command_check(const void *block, uint64_t bytes, const char **field);
int node_reply_check(const void *block, uint64_t bytes, const char **field);

/* An error as data of a reply, and back: every field, texts up to 64 KiB each. Packing writes at most `room` bytes, cutting the
** longest texts if it must, and returns how many; unpacking refuses (false) what is no error, and leaves *err empty then. */
uint64_t node_error_pack(const baton_error *err, void *out, uint64_t room);
int node_error_unpack(const void *data, uint64_t bytes, baton_error *err);

#endif
