#include "chip/runtime.h"
#include "chip/program/text.h"
#include <string.h>

enum { RUNTIMES = 2 };

/* In the order of preference for a program. */
static const chip_runtime *const *candidates(const baton_program *program) {
  static const chip_runtime *const for_graphs[RUNTIMES] = {&chip_host_build_graph,
                                                           &chip_tensormap_and_ringbuffer};
  static const chip_runtime *const for_others[RUNTIMES] = {&chip_tensormap_and_ringbuffer,
                                                           &chip_host_build_graph};
  return chip_program_is_graph(program) ? for_graphs : for_others;
}

static baton_status refuse(const char *name, const baton_program *program, baton_error *err) {
  chip_text fitting = {0};
  const chip_runtime *const *runtimes = candidates(program);
  for (int i = 0; i < RUNTIMES; i++)
    if (runtimes[i]->accepts(program))
      chip_text_add(&fitting, "%s%s", fitting.length ? ", " : "", runtimes[i]->name);
  baton_error_set(err, BATON_UNSUPPORTED, "%s: runtime %s does not carry this program; those that do: %s",
                  baton_program_name(program), name ? name : "(any)", fitting.data ? fitting.data : "none");
  chip_text_free(&fitting);
  return BATON_UNSUPPORTED;
}

baton_status chip_runtime_find(const char *name, const baton_program *program, const chip_runtime **out,
                               baton_error *err) {
  const chip_runtime *const *runtimes = candidates(program);
  for (int i = 0; i < RUNTIMES; i++) {
    if (name && strcmp(name, runtimes[i]->name) != 0) continue;
    if (!runtimes[i]->accepts(program)) continue;
    *out = runtimes[i];
    return BATON_OK;
  }
  return refuse(name, program, err);
}
