/* base/dump.h - what can tell for people what it is doing, and a signal that makes all of it tell. */
#ifndef BASE_DUMP_H
#define BASE_DUMP_H

#include <baton/error.h>
#include <stddef.h>

/* One that can tell; its owner has room for it, zero-initialised. */
typedef struct base_dumpable {
  size_t (*dump)(void *of, char *text, size_t size); /* as snprintf; on any thread */
  void *of;
  struct base_dumpable *older, *newer;
  int listed;
} base_dumpable;

/* From now on it is told, with those that came before it first; after the removal it is not, and its owner may free it. Neither
** does harm twice. The removal waits for a dump under way. Any thread, outside of dump functions. */
void base_dumpable_add(base_dumpable *dumpable);
void base_dumpable_remove(base_dumpable *dumpable);

/* From now on the signal makes a thread of its own, which begins with the first that can tell, write all dumps to stderr, or that
** there are none. What the signal finds goes on: calls
** that it interrupts are restarted. Once a process; a second call with the same signal does nothing. `state`, with nothing changed, if
** the process has a use for the signal. Any thread. */
baton_status base_dump_on_signal(int number, baton_error *err);

#endif
