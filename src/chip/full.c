/* The errors of full resources: which one, its size, who holds it. */
#include "chip/submit.h"

typedef unsigned long long number; /* as printf takes it */

/* A resource that was asked for, and what the engine counted then. */
typedef struct shortage {
  chip_orchestrator *self;
  task_status status;
  const char *program, *what;
  task_counts counts;
} shortage;

/* Nothing runs and nothing is ready: what the end of an open scope would free never comes back. False: it is not that. */
static int report_deadlock(const shortage *s, uint64_t bytes) {
  const chip_sizes *sizes = &s->self->engine->sizes;
  const task_counts *counts = &s->counts;
  baton_error *failure = &s->self->failure;
  int slots = s->status == TASK_WINDOW_FULL || s->status == TASK_PAYLOAD_FULL;
  if (slots && counts->hidden)
    baton_error_set(
        failure, BATON_SCOPE_DEADLOCK,
        "%s: %s: the window of %u tasks is full, and scope %u, whose end would start %u of them, is open",
        s->program, s->what, sizes->window, counts->hider_scope, counts->hidden);
  else if (s->status == TASK_HEAP_FULL && bytes <= sizes->heap && !s->self->held && counts->holder_scope)
    baton_error_set(
        failure, BATON_SCOPE_DEADLOCK,
        "%s: %s: the heap of %llu bytes is full, the largest free piece is %llu, and scope %u, whose end "
        "would give back %u blocks of %llu bytes, is open",
        s->program, s->what, (number)sizes->heap, (number)counts->heap_largest, counts->holder_scope,
        counts->holder_blocks, (number)counts->holder_bytes);
  else
    return 0;
  return 1;
}

static void report_heap(const shortage *s) {
  const task_counts *counts = &s->counts;
  baton_error_set(
      &s->self->failure, BATON_HEAP_FULL,
      "%s: %s: the heap of %llu bytes is full: %llu in use, the largest free piece is %llu; %u blocks of "
      "%llu bytes belong to the open scope %u",
      s->program, s->what, (number)s->self->engine->sizes.heap, (number)counts->heap_used,
      (number)counts->heap_largest, counts->holder_blocks, (number)counts->holder_bytes,
      counts->holder_scope);
}

static void report_window(const shortage *s) {
  const task_counts *counts = &s->counts;
  uint32_t window = s->self->engine->sizes.window;
  baton_error *failure = &s->self->failure;
  if (s->status == TASK_PAYLOAD_FULL)
    baton_error_set(
        failure, BATON_WINDOW_FULL,
        "%s: %s: the argument memory of a window of %u tasks is full: %u unfinished tasks hold it",
        s->program, s->what, window, counts->live);
  else if (s->status == TASK_REGIONS_FULL)
    baton_error_set(
        failure, BATON_WINDOW_FULL,
        "%s: %s: the tensor map of a window of %u tasks is full: %u unfinished tasks touch %u regions",
        s->program, s->what, window, counts->live, counts->regions);
  else
    baton_error_set(failure, BATON_WINDOW_FULL, "%s: %s: the window of %u tasks is full: %u are unfinished",
                    s->program, s->what, window, counts->live);
}

void chip_report_full(chip_orchestrator *self, task_status status, uint64_t bytes, const char *what) {
  const char *setting = "ring_task_window";
  shortage s = {
      .self = self, .status = status, .program = baton_program_name(self->bindings->program), .what = what};
  task_engine_counts(self->engine->tasks, &s.counts);
  if (status == TASK_HEAP_FULL) setting = "ring_heap";
  if (status == TASK_EDGES_FULL) {
    setting = "ring_dep_pool";
    baton_error_set(&self->failure, BATON_DEP_POOL_FULL,
                    "%s: %s: the pool of %u edges is full: %u in use by %u unfinished tasks", s.program, what,
                    self->engine->sizes.dep_pool, s.counts.edges_used, s.counts.live);
  } else if (!report_deadlock(&s, bytes)) {
    if (status == TASK_HEAP_FULL)
      report_heap(&s);
    else
      report_window(&s);
  }
  baton_error_text(&self->failure, BATON_FIELD_HINT, "raise %s in config; %s", setting, self->full_hint);
}
