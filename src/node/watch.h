/* node/watch.h - learns of the death of children: one thread for the process, asleep until one dies.
**
** A child is watched by a descriptor of its process, so a number that the system gives out again cannot mislead. The thread takes
** the exit status: nobody else in the process needs to, and a child that somebody else waits for is noticed all the same. */
#ifndef NODE_WATCH_H
#define NODE_WATCH_H

#include <baton/error.h>
#include <sys/types.h>

/* How a process ended. */
typedef enum node_death {
  NODE_DEATH_UNKNOWN, /* somebody else has taken the status */
  NODE_DEATH_EXIT,    /* `value` is the status */
  NODE_DEATH_SIGNAL   /* `value` is the signal */
} node_death;

/* One child; it stays where it is from node_watch_add to node_watch_remove. */
typedef struct node_watched {
  pid_t pid;
  /* Called once, on the watch thread, when the child is dead and `death` and `value` are set; short, and calls nothing of this header. */
  void (*died)(void *context);
  void *context;
  node_death death;
  int value;
  int fd; /* the rest belongs to node/watch.c */
  int over;
  struct node_watched *next;
} node_watched;

/* Begins with a child that this process has just started; the caller has set the first three fields. On failure nobody watches:
** `resource_limit` without a thread or a descriptor. Any thread. */
BATON_MUST_CHECK baton_status node_watch_add(node_watched *watched, baton_error *err);

/* Waits until the child is dead and `died` has returned. False: the deadline (base_now's clock) has passed. Any thread. */
int node_watch_await(node_watched *watched, int64_t deadline);

/* SIGKILL for the child, if it is alive. Any thread. */
void node_watch_kill(node_watched *watched);

/* Ends the watch: `died` is not called any more. A child that is alive becomes nobody's. Not on the watch thread. */
void node_watch_remove(node_watched *watched);

#endif
