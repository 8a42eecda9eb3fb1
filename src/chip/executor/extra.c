/* Tasks that are more than one call of one kernel (chip/executor/extra.h). */
#include "chip/executor/extra.h"
#include "base/clock.h"
#include "chip/executor/call.h"
#include <stdio.h>

/* --- Predicates ------------------------------------------------------------------------------------------------- */

/* The element as a number of 64 bits. An unsigned one that is larger than those counts as the largest of them, which no
** smaller value equals: *above tells it apart. */
static int64_t read_element(const baton_argument *operand, int *above) {
  const void *data = operand->value.data;
  *above = 0;
  switch (operand->dtype) {
  case BATON_I8: return *(const int8_t *)data;
  case BATON_I16: return *(const int16_t *)data;
  case BATON_I32: return *(const int32_t *)data;
  case BATON_U16: return *(const uint16_t *)data;
  case BATON_U32: return *(const uint32_t *)data;
  case BATON_I64: return *(const int64_t *)data;
  case BATON_U64:
    *above = *(const uint64_t *)data > INT64_MAX;
    return *above ? INT64_MAX : *(const int64_t *)data;
  default: return *(const uint8_t *)data;
  }
}

static int holds(const chip_payload *payload, const chip_extra *extra) {
  int above;
  int64_t element = read_element(&payload->items[payload->count], &above);
  int order = above || element > extra->value ? 1 : element < extra->value ? -1 : 0;
  switch (extra->op) {
  case BATON_EQUAL: return order == 0;
  case BATON_NOT_EQUAL: return order != 0;
  case BATON_LESS: return order < 0;
  case BATON_LESS_EQUAL: return order <= 0;
  case BATON_GREATER: return order > 0;
  default: return order >= 0;
  }
}

/* --- Timing slots ----------------------------------------------------------------------------------------------- */

static void begin_time(chip_lane *lane, const chip_extra *extra) {
  if (extra->timing_slot == CHIP_NO_SLOT || lane->timed >> extra->timing_slot & 1) return;
  lane->timed |= 1u << extra->timing_slot;
  lane->slots[extra->timing_slot] = (chip_slot){base_now(), INT64_MIN};
}

void chip_extra_end(chip_lane *lane, const chip_extra *extra) {
  if (extra->timing_slot != CHIP_NO_SLOT) lane->slots[extra->timing_slot].end = base_now();
}

uint32_t chip_executor_times(const chip_executor *executor, double slots[BATON_TIMING_SLOTS]) {
  uint32_t timed = 0;
  for (uint32_t slot = 0; slot < BATON_TIMING_SLOTS; slot++) {
    int64_t begin = INT64_MAX, end = INT64_MIN;
    for (uint32_t i = 0; i < executor->count; i++) {
      const chip_lane *lane = &executor->lanes[i];
      if (!(lane->timed >> slot & 1)) continue;
      if (lane->slots[slot].begin < begin) begin = lane->slots[slot].begin;
      if (lane->slots[slot].end > end) end = lane->slots[slot].end;
    }
    slots[slot] = end < begin ? 0 : (double)(end - begin) / 1e3;
    if (begin != INT64_MAX) timed |= 1u << slot;
  }
  return timed;
}

/* --- Calls ------------------------------------------------------------------------------------------------------ */

static int may_wait(const chip_payload *payload, const chip_extra *extra) {
  if (extra->together) return 1;
  if (!extra->mixed) return payload->kernel->waits;
  for (int part = 0; part < CHIP_PARTS; part++)
    if (extra->parts[part].kernel && extra->parts[part].kernel->waits) return 1;
  return 0;
}

/* One instance on a core or a cluster: of a mixed task one kernel after the other; after a failure the rest is not
** called. */
static int run_instance(chip_executor *executor, chip_lane *lane, const chip_payload *payload, uint32_t block,
                        uint32_t place) {
  int mixed = chip_extra_of(payload)->mixed != 0;
  chip_call call;
  for (uint32_t part = 0; part < (mixed ? CHIP_PARTS : 1u); part++) {
    chip_call_make(&call, payload, block, part, &lane->pulse);
    if (!call.kernel) continue;
    call.args.core = mixed ? chip_core_at(&executor->cores, place, part) : place;
    if (chip_call_kernel(executor, &call)) return TASK_CALL_FAILED;
  }
  return TASK_CALL_OK;
}

/* The instances of a share go round the cores that it has. Each of them is progress. */
static int run_instances(chip_executor *executor, chip_lane *lane, const chip_payload *payload,
                         const uint8_t *places, uint32_t place_count) {
  const chip_extra *extra = chip_extra_of(payload);
  uint32_t turn = 0;
  for (uint32_t block = extra->share; block < extra->blocks; block += extra->shares) {
    if (task_engine_is_cancelled(executor->tasks)) return TASK_CALL_FAILED;
    chip_pulse_begin(&lane->pulse);
    int failed = run_instance(executor, lane, payload, block, places[turn]);
    chip_pulse_end(&lane->pulse);
    if (failed) return TASK_CALL_FAILED;
    if (++turn == place_count) turn = 0;
  }
  return TASK_CALL_OK;
}

/* A share has a range of the cores for itself, if they are free. */
uint32_t chip_extra_reserve(chip_cores *cores, const chip_extra *extra, uint32_t kind, uint32_t left,
                            uint32_t held, uint8_t *places) {
  uint32_t all = chip_cores_of_kind(cores, kind), over = all % extra->shares;
  if (extra->together) return chip_cores_reserve(cores, kind, 0, left, left, places);
  uint32_t size = chip_share_count(all, extra->share, extra->shares);
  uint32_t first = extra->share * (all / extra->shares) + (extra->share < over ? extra->share : over);
  if (left > size) left = size;
  return left > held ? chip_cores_reserve(cores, kind, first, left - held, 1, places) : 0;
}

static int run_share(chip_executor *executor, chip_lane *lane, const task_call *task, uint32_t kind) {
  const chip_extra *extra = chip_extra_of(task->payload);
  chip_cores *cores = &executor->cores;
  uint8_t places[CHIP_MOST_OF_KIND];
  chip_cores_give_lease(cores, &lane->lease);
  uint32_t count = chip_share_count(extra->blocks, extra->share, extra->shares);
  uint32_t found = chip_extra_reserve(cores, extra, kind, count, 0, places);
  if (!found) return chip_waiting_begin(executor, lane, task);
  int failed = run_instances(executor, lane, task->payload, places, found);
  chip_cores_give_places(cores, kind, places, found);
  return failed;
}

static int run_once(chip_executor *executor, chip_lane *lane, const task_call *task, uint32_t kind) {
  const chip_payload *payload = task->payload;
  if (!chip_lease_ready(&executor->cores, &lane->lease)) return chip_waiting_begin(executor, lane, task);
  uint32_t place = kind == CHIP_WHOLE ? chip_lease_cluster(&lane->lease)
                                      : chip_lease_core(&executor->cores, &lane->lease, (baton_core)kind);
  return run_instance(executor, lane, payload, 0, place);
}

/* For who looks at the lane. */
static void show_name(chip_lane *lane, const char *name) {
  pthread_mutex_lock(&lane->name_lock);
  snprintf(lane->name, sizeof lane->name, "%s", name);
  pthread_mutex_unlock(&lane->name_lock);
  atomic_store_explicit(&lane->kernel, NULL, memory_order_relaxed);
}

int chip_extra_run(chip_executor *executor, chip_lane *lane, const task_call *task) {
  const chip_payload *payload = task->payload;
  const chip_extra *extra = chip_extra_of(payload);
  uint32_t kind = extra->mixed ? CHIP_WHOLE : (uint32_t)payload->kernel->core;
  if (extra->predicated && !holds(payload, extra)) return TASK_CALL_OK;
  show_name(lane, payload->name);
  begin_time(lane, extra);
  if (may_wait(payload, extra)) return chip_waiting_begin(executor, lane, task);
  int failed =
      extra->blocks == 1 ? run_once(executor, lane, task, kind) : run_share(executor, lane, task, kind);
  if (failed != TASK_CALL_WAITS) chip_extra_end(lane, extra);
  return failed;
}
