#include "chip/submit.h"
#include "base/memory.h"
#include "base/text.h"
#include "chip/looks.h"
#include "chip/task_options.h"
#include <stdio.h>
#include <string.h>

enum {
  OTHER_COST = TASK_KERNELS / 2, /* apart from the kernel itself, in its number for the engine */
  SHARE_NS = 1000                /* shorter ones are not worth another task */
};

/* One submit under way. The parts of a mixed task share one list of arguments, or the lists of all stand
** one behind the other. */
typedef struct submit {
  chip_orchestrator *self;
  const chip_part *parts;
  uint32_t nparts;
  int mixed;
  const char *name; /* of the task */
  const baton_arg *args;
  uint32_t nargs; /* with the operand of a predicate, which comes last */
  int predicated;
  chip_extra *extra; /* NULL: the task is one call of one kernel */
} submit;

static const char *program_name(const submit *s) { return baton_program_name(s->self->bindings->program); }

static int takes(const chip_part *part, uint32_t i) {
  return i >= part->first && i - part->first < part->count;
}

static const chip_signature *signature_of(const chip_part *part) {
  return part->kernel ? part->kernel->signature : NULL;
}

/* The first part that takes argument `i`; every argument has one. */
static const chip_part *part_of(const submit *s, uint32_t i) {
  const chip_part *part = s->parts;
  while (!takes(part, i)) part++;
  return part;
}

static int same_list(const submit *s, uint32_t i, uint32_t j) { return takes(part_of(s, i), j); }

static int is_operand(const submit *s, uint32_t i) { return s->predicated && i == s->nargs - 1; }

/* "gemm: task tile: argument 2 (B)"; with a list for each kernel: "gemm: task tile: kernel load: argument
** 2 (B)". */
static void say_argument(const submit *s, uint32_t i, char *text, size_t size) {
  if (is_operand(s, i)) {
    snprintf(text, size, "%s: task %s: predicate", program_name(s), s->name);
    return;
  }
  const chip_part *part = part_of(s, i);
  const chip_signature *signature = signature_of(part);
  uint32_t at = i - part->first;
  const char *name = signature && at < signature->count ? signature->items[at].name : NULL;
  int lists = part->count != s->nargs - (uint32_t)s->predicated;
  snprintf(text, size, "%s: task %s: %s%s%sargument %u%s%s%s", program_name(s), s->name,
           lists ? "kernel " : "", lists ? part->kernel->name : "", lists ? ": " : "", at + 1,
           name ? " (" : "", name ? name : "", name ? ")" : "");
}

BATON_PRINTF(4, 5)
static baton_status refuse(const submit *s, baton_status code, uint32_t i, const char *fmt, ...) {
  char who[256], message[512];
  va_list values;
  say_argument(s, i, who, sizeof who);
  va_start(values, fmt);
  base_vprint(message, sizeof message, fmt, values);
  va_end(values);
  return baton_error_set(&s->self->failure, code, "%s: %s", who, message);
}

static const char *core_word(baton_core core) { return core == BATON_AIC ? "aic" : "aiv"; }

static baton_status check_cores(const submit *s) {
  for (const chip_part *part = s->parts; part < s->parts + s->nparts; part++) {
    if (!part->kernel || part->kernel->core == part->core) continue;
    return baton_error_set(&s->self->failure, BATON_SIGNATURE,
                           "%s: task %s: kernel %s is for the %s cores, it was submitted to %s",
                           program_name(s), s->name, part->kernel->name, core_word(part->kernel->core),
                           core_word(part->core));
  }
  return BATON_OK;
}

static baton_status make_room(const submit *s) {
  chip_orchestrator *self = s->self;
  if (s->nargs <= self->room) return BATON_OK;
  uint32_t room = s->nargs < 16 ? 16 : s->nargs;
  chip_value *values = base_realloc(self->values, room * sizeof *values);
  if (values) self->values = values;
  task_access *accesses = base_realloc(self->accesses, room * sizeof *accesses);
  if (accesses) self->accesses = accesses;
  if (!values || !accesses) return base_out_of_memory(&self->failure, "the arguments of a task");
  self->room = room;
  return BATON_OK;
}

static const chip_binding *binding_of(const submit *s, const baton_view *view) {
  uint32_t position = view->argument - 1; /* of none: beyond all of them */
  return position < s->self->bindings->count ? &s->self->bindings->items[position] : NULL;
}

/* Tensors must be device memory of this run: the result of a good view operation on an argument or an
** intermediate. */
static baton_status refuse_tensor(const submit *s, uint32_t i) {
  if (!s->args[i].view.dtype)
    return refuse(s, BATON_OUT_OF_RANGE, i, "the result of a view operation that does not fit its tensor");
  return refuse(s, BATON_INVALID_ARGUMENT, i, "not a tensor of this run");
}

static int is_tensor(const baton_view *view, const chip_binding *binding) {
  return view->dtype && (binding ? binding->address == view->base : view->block != 0);
}

/* The kernels' signatures over their arguments, and contiguous tensors unless they take any view. */
static baton_status check_signature(const submit *s) {
  chip_value *values = s->self->values;
  for (uint32_t i = 0; i < s->nargs; i++) {
    const baton_arg *arg = &s->args[i];
    values[i].dtype = arg->dtype;
    if (arg->tag == BATON_SCALAR) {
      values[i].view = NULL;
      values[i].scalar.u64 = arg->scalar.u64;
      continue;
    }
    if (!is_tensor(&arg->view, binding_of(s, &arg->view))) return refuse_tensor(s, i);
    values[i].view = &arg->view;
  }
  for (const chip_part *part = s->parts; part < s->parts + s->nparts; part++)
    if (part->kernel)
      BATON_TRY(chip_kernel_check(part->kernel, values + part->first, part->count, &s->self->failure));
  return BATON_OK;
}

/* What a kernel does with an untagged argument, by its signature; else `input` for what belongs to an `in`
** argument of the program; else inout: always right, never parallel. */
static uint32_t mode_in_part(const chip_part *part, uint32_t i, const chip_binding *binding) {
  const chip_signature *signature = signature_of(part);
  if (signature) {
    baton_direction direction = signature->items[i - part->first].direction;
    return direction == BATON_IN    ? TASK_READS
           : direction == BATON_OUT ? TASK_WRITES
                                    : TASK_READS | TASK_WRITES;
  }
  return binding && binding->direction == BATON_IN ? TASK_READS : TASK_READS | TASK_WRITES;
}

/* A tag wins; what several kernels take is accessed in every way in which one of them does. */
static uint32_t mode_of(const submit *s, uint32_t i, const chip_binding *binding) {
  uint32_t mode = 0;
  switch (s->args[i].tag) {
  case BATON_UNTAGGED:
    if (s->nparts == 1) return mode_in_part(s->parts, i, binding);
    for (const chip_part *part = s->parts; part < s->parts + s->nparts; part++)
      if (takes(part, i)) mode |= mode_in_part(part, i, binding);
    return mode;
  case BATON_INPUT: return TASK_READS;
  case BATON_OUTPUT: return TASK_WRITES;
  case BATON_NO_DEP: return 0;
  default: return TASK_READS | TASK_WRITES;
  }
}

/* One run of bytes is the usual case. */
static void make_region(const submit *s, uint32_t i, task_region *region) {
  const baton_view *view = &s->args[i].view;
  uint64_t offset = (uintptr_t)view->data - view->base;
  size_t element = baton_dtype_size((baton_dtype)view->dtype);
  int strided = s->self->values[i].strided = !baton_view_contiguous(view);
  if (strided) {
    task_region_make(region, offset, (uint32_t)element, view->ndim, view->shape, view->strides);
    return;
  }
  region->offset = offset;
  region->run = (uint64_t)baton_view_numel(view) * element;
  region->ndim = 0;
}

/* Views that were made by view operations lie in their buffer; a C orchestration may hand in anything. */
static baton_status check_range(const submit *s, uint32_t i, const chip_binding *binding,
                                const task_region *region) {
  const baton_view *view = &s->args[i].view;
  uint64_t offset, bytes, end = region->ndim ? task_region_end(region) : region->offset + region->run;
  if (binding)
    bytes = binding->bytes;
  else if (!task_engine_block_range(s->self->engine->tasks, view->block, view->generation, &offset, &bytes))
    return BATON_OK; /* stale: the engine says so */
  else if (s->self->engine->heap_address + offset != view->base)
    return refuse(s, BATON_INVALID_ARGUMENT, i, "not a tensor of this run");
  if (!region->run || (region->offset <= bytes && end <= bytes)) return BATON_OK;
  return refuse(s, BATON_OUT_OF_RANGE, i, "ends at byte %lld of a tensor of %llu bytes", (long long)end,
                (unsigned long long)bytes);
}

static baton_status refuse_write(const submit *s, uint32_t i) {
  const chip_signature *signature = chip_program_signature(s->self->bindings->program);
  return refuse(s, BATON_SIGNATURE, i, "writes %s, which the program declares as an input",
                signature ? signature->items[s->args[i].view.argument - 1].name : "an argument");
}

static baton_status make_access(const submit *s, uint32_t i, task_access *access) {
  const baton_view *view = &s->args[i].view;
  const chip_binding *binding = binding_of(s, view);
  access->base = view->base;
  access->mode = mode_of(s, i, binding);
  access->block = view->block;
  access->generation = view->generation;
  make_region(s, i, &access->region);
  BATON_TRY(check_range(s, i, binding, &access->region));
  if (!binding) return BATON_OK;
  s->self->touched[view->argument - 1] |=
      (uint8_t)(s->args[i].tag == BATON_NO_DEP ? TASK_READS | TASK_WRITES : access->mode);
  int writes_input = binding->direction == BATON_IN && (access->mode & TASK_WRITES);
  return writes_input ? refuse_write(s, i) : BATON_OK;
}

static baton_status make_accesses(const submit *s, uint32_t *count) {
  task_access *access = s->self->accesses;
  for (uint32_t i = 0; i < s->nargs; i++) {
    if (s->args[i].tag == BATON_SCALAR) continue;
    BATON_TRY(make_access(s, i, access++));
  }
  *count = (uint32_t)(access - s->self->accesses);
  return BATON_OK;
}

/* Position of the argument that access `index` stands for. */
static uint32_t argument_of(const submit *s, uint32_t index) {
  uint32_t i = 0;
  for (uint32_t seen = 0; i < s->nargs; i++)
    if (s->args[i].tag != BATON_SCALAR && seen++ == index) break;
  return i;
}

static baton_status refuse_overlap(const submit *s, uint32_t i, uint32_t j) {
  const chip_part *other = part_of(s, i);
  if (same_list(s, i, j))
    return refuse(s, BATON_SIGNATURE, j, "overlaps argument %u, and one of them is written",
                  i - other->first + 1);
  return refuse(s, BATON_SIGNATURE, j, "overlaps argument %u of kernel %s, and one of them is written",
                i - other->first + 1, other->kernel->name);
}

/* The kernels of a mixed task may be handed the same tensor, to hand it from one to the other. The operand of a predicate
** is read before they begin, and may be anything. */
static baton_status check_overlap(const submit *s, uint32_t count) {
  const task_access *accesses = s->self->accesses;
  count -= (uint32_t)s->predicated;
  for (uint32_t i = 0; i < count; i++)
    for (uint32_t j = i + 1; j < count; j++) {
      if (accesses[i].base != accesses[j].base || !((accesses[i].mode | accesses[j].mode) & TASK_WRITES))
        continue;
      if (!task_region_overlaps(&accesses[i].region, &accesses[j].region)) continue;
      uint32_t one = argument_of(s, i), other = argument_of(s, j);
      if (!same_list(s, one, other) && task_region_equal(&accesses[i].region, &accesses[j].region)) continue;
      return refuse_overlap(s, one, other);
    }
  return BATON_OK;
}

/* Where the extra of a task begins in its payload, behind the name; without one the size of the payload. */
static size_t extra_offset(const submit *s, uint32_t tensors, size_t name) {
  size_t end = sizeof(chip_payload) + s->nargs * sizeof(baton_argument) + tensors * sizeof(baton_view) + name;
  return s->extra ? (end + _Alignof(chip_extra) - 1) & ~(_Alignof(chip_extra) - 1) : end;
}

static size_t payload_bytes(const submit *s, uint32_t tensors, size_t name) {
  return extra_offset(s, tensors, name) + (s->extra ? sizeof(chip_extra) : 0);
}

static void fill_extra(const submit *s, chip_payload *payload, size_t offset) {
  chip_extra *extra = (chip_extra *)(void *)((char *)payload + offset);
  payload->extra = (uint32_t)offset;
  payload->count -= (uint32_t)s->predicated;
  *extra = *s->extra;
  if (!s->mixed) return;
  payload->kernel = NULL;
  extra->mixed = 1;
  for (const chip_part *part = s->parts; part < s->parts + s->nparts; part++)
    extra->parts[part->place] = *part;
}

static void fill_scalar(const submit *s, uint32_t i, baton_argument *item) {
  const chip_value *value = &s->self->values[i];
  *item = (baton_argument){
      .dtype = (uint8_t)value->dtype, .value.u64 = value->scalar.u64, .argument = s->args[i].view.argument};
  if (item->argument) chip_looks_ignore_scalar(s->self->looks, item->argument);
}

char *chip_kernel_bytes(const chip_orchestrator *self, const baton_view *view) {
  const chip_engine *engine = self->engine;
  uint64_t data = (uintptr_t)view->data;
  if (view->block) return engine->heap_bytes + (data - engine->heap_address);
  return self->bindings->items[view->argument - 1].kernel_bytes + (data - view->base);
}

/* With the address that kernels see. */
static void fill_tensor(const submit *s, uint32_t i, uint32_t mode, baton_argument *item, baton_view *view) {
  const baton_view *from = &s->args[i].view;
  *view = *from;
  view->data = chip_kernel_bytes(s->self, from);
  *item = (baton_argument){.value.data = view->data,
                           .view = view,
                           .dtype = from->dtype,
                           .argument = from->argument,
                           .contiguous = (uint8_t)!s->self->values[i].strided,
                           .written = (mode & TASK_WRITES) || s->args[i].tag == BATON_NO_DEP};
}

static void fill_payload(const submit *s, chip_payload *payload, uint32_t tensors, size_t name) {
  baton_view *view = (baton_view *)(void *)&payload->items[s->nargs];
  char *text = (char *)&view[tensors];
  payload->kernel = s->parts[0].kernel;
  payload->count = s->nargs;
  payload->extra = 0;
  if (s->extra) fill_extra(s, payload, extra_offset(s, tensors, name));
  payload->name = name ? memcpy(text, s->name, name) : s->name;
  const task_access *access = s->self->accesses;
  for (uint32_t i = 0; i < s->nargs; i++)
    if (s->args[i].tag == BATON_SCALAR)
      fill_scalar(s, i, &payload->items[i]);
    else
      fill_tensor(s, i, access++->mode, &payload->items[i], view++);
}

static baton_status report_stale(const submit *s, uint32_t access) {
  uint32_t scope = s->self->accesses[access].generation - s->self->first_scope;
  return refuse(s, BATON_STALE_HANDLE, argument_of(s, access),
                "an intermediate of scope %u of this run, which has ended", scope);
}

static baton_status check_deps(const submit *s, const baton_task_options *options) {
  for (uint32_t i = 0; i < options->ndeps; i++)
    if (!task_engine_knows(s->self->engine->tasks, options->deps[i]))
      return baton_error_set(&s->self->failure, BATON_STALE_HANDLE,
                             "%s: task %s: deps: entry %u is no task of this run", program_name(s), s->name,
                             i + 1);
  return BATON_OK;
}

baton_status chip_check_access(chip_orchestrator *self, const char *name, const baton_arg *arg) {
  chip_part part = {.count = 1, .core = BATON_AIV};
  submit s = {.self = self, .parts = &part, .nparts = 1, .name = name, .args = arg, .nargs = 1};
  uint32_t count;
  uint64_t offset, bytes;
  BATON_TRY(make_room(&s));
  BATON_TRY(check_signature(&s));
  BATON_TRY(make_accesses(&s, &count));
  const baton_view *view = &arg->view;
  if (!view->block ||
      task_engine_block_range(self->engine->tasks, view->block, view->generation, &offset, &bytes))
    return BATON_OK;
  return report_stale(&s, 0);
}

/* One task of the engine, over the first `count` accesses. */
static baton_status submit_task(const submit *s, uint32_t kernel, uint32_t count, const baton_task *deps,
                                uint32_t ndeps, size_t name, uint32_t tensors, baton_task *out) {
  chip_orchestrator *self = s->self;
  uint32_t which = 0;
  size_t bytes = kernel == TASK_NO_KERNEL ? 0 : payload_bytes(s, tensors, name);
  void *payload;
  task_status status =
      task_engine_open(self->engine->tasks, self->accesses, count, (uint32_t)bytes, &payload, &which);
  if (status == TASK_STALE) return report_stale(s, which);
  if (status == TASK_OK) {
    if (bytes) fill_payload(s, payload, tensors, name);
    status = task_engine_submit(self->engine->tasks, kernel, self->accesses, count, deps, ndeps, out);
  }
  if (status == TASK_OK) {
    if (--self->engine->few == 0) chip_engine_spread(self->engine);
    return BATON_OK;
  }
  char what[300];
  snprintf(what, sizeof what, "task %s", s->name);
  chip_report_full(self, status, 0, what);
  return self->failure.code;
}

/* The instances of a task in shares, one for each lane. What the task must wait for ends before its gate does, and what
** depends on it waits for all shares; in between nobody else touches what it touches. */
static baton_status submit_shares(const submit *s, uint32_t kernel, uint32_t count,
                                  const baton_task_options *options, size_t name, baton_task *out) {
  task_engine *tasks = s->self->engine->tasks;
  baton_task gate, shares[TASK_LANES];
  BATON_TRY(submit_task(s, TASK_NO_KERNEL, count, options->deps, options->ndeps, 0, count, &gate));
  task_engine_begin_parts(tasks);
  baton_status status = BATON_OK;
  for (uint32_t i = 0; i < s->extra->shares && status == BATON_OK; i++) {
    s->extra->share = i;
    status = submit_task(s, kernel, 0, &gate, 1, name, count, &shares[i]);
  }
  if (status == BATON_OK)
    status = submit_task(s, TASK_NO_KERNEL, count, shares, s->extra->shares, 0, count, out);
  task_engine_end_parts(tasks);
  return status;
}

/* What the engine takes for one kernel should always cost the same. */
static uint32_t engine_kernel(const submit *s, const baton_task_options *options) {
  const chip_kernel *kernel = s->parts[0].kernel;
  if (!kernel) return TASK_NO_KERNEL;
  int differs = s->extra && (s->extra->blocks > 1 || s->predicated);
  return task_kernel(differs ? kernel->number ^ OTHER_COST : kernel->number, options->priority);
}

/* True if the task writes what its predicate reads. */
static int writes_operand(const submit *s, uint32_t count) {
  const task_access *accesses = s->self->accesses, *operand = &accesses[count - 1];
  for (uint32_t i = 0; s->predicated && i + 1 < count; i++)
    if (accesses[i].base == operand->base && (accesses[i].mode & TASK_WRITES) &&
        task_region_overlaps(&accesses[i].region, &operand->region))
      return 1;
  return 0;
}

static uint32_t least_of(uint32_t a, uint32_t b) { return a < b ? a : b; }

static int may_wait(const submit *s) {
  if (s->extra->together) return 1;
  for (const chip_part *part = s->parts; part < s->parts + s->nparts; part++)
    if (part->kernel->waits) return 1;
  return 0;
}

/* How many shares the instances make: as many as there are lanes, if they are long enough. Each share looks at the
** predicate. Instances that may wait are one share, so that they begin in the order of their numbers: whoever waits for
** an earlier one does not keep a core from it. */
static uint32_t count_shares(const submit *s, uint32_t kernel, uint32_t count) {
  const chip_engine *engine = s->self->engine;
  uint32_t kind = s->mixed ? CHIP_WHOLE : (uint32_t)s->parts[0].core;
  uint32_t cores = chip_cores_of_kind(&engine->executor.cores, kind);
  uint32_t shares = least_of(least_of(engine->sizes.lanes, cores), s->extra->blocks);
  uint32_t cost = task_engine_cost(engine->tasks, kernel);
  if (may_wait(s) || (cost && cost < SHARE_NS) || writes_operand(s, count)) return 1;
  return 2 * (shares + 2) > engine->sizes.window ? 1 : shares;
}

static baton_status submit_parts(submit *s, const baton_task_options *options, baton_task *out) {
  uint32_t count;
  BATON_TRY(check_cores(s));
  BATON_TRY(make_room(s));
  BATON_TRY(check_signature(s));
  BATON_TRY(make_accesses(s, &count));
  BATON_TRY(check_overlap(s, count));
  BATON_TRY(check_deps(s, options));
  size_t name = options->name ? strlen(options->name) + 1 : 0;
  uint32_t kernel = engine_kernel(s, options);
  if (s->extra && s->extra->blocks > 1) s->extra->shares = count_shares(s, kernel, count);
  if (s->extra && s->extra->shares > 1) return submit_shares(s, kernel, count, options, name, out);
  return submit_task(s, kernel, count, options->deps, options->ndeps, name, count, out);
}

/* With the operand of its predicate behind the arguments. */
static baton_status submit_predicated(submit *s, const baton_task_options *options, baton_task *out) {
  baton_arg operand;
  BATON_TRY(chip_options_operand(s->self, s->name, options->predicate, &operand));
  baton_arg *args = base_alloc((s->nargs + 1) * sizeof *args);
  if (!args) return base_out_of_memory(&s->self->failure, "the arguments of a task");
  if (s->nargs) memcpy(args, s->args, s->nargs * sizeof *args);
  args[s->nargs++] = operand;
  s->args = args;
  s->predicated = 1;
  baton_status status = submit_parts(s, options, out);
  base_free(args);
  return status;
}

static baton_status submit_any(submit *s, const baton_task_options *options, baton_task *out) {
  const chip_kernel *kernel = s->parts[0].kernel;
  uint32_t kind = s->mixed ? CHIP_WHOLE : (uint32_t)s->parts[0].core;
  int has_extra = s->mixed || (kernel && options->name) || chip_options_extra(options);
  chip_extra extra;
  s->name = options->name ? options->name : kernel ? kernel->name : "dummy";
  if (!has_extra && !options->priority) return submit_parts(s, options, out);
  BATON_TRY(chip_options_check(s->self, s->name, kind, kernel != NULL, options, &extra));
  s->extra = has_extra ? &extra : NULL;
  return options->predicate ? submit_predicated(s, options, out) : submit_parts(s, options, out);
}

baton_status chip_submit(chip_orchestrator *self, baton_core core, const chip_kernel *kernel,
                         const baton_arg *args, uint32_t nargs, const baton_task_options *options,
                         baton_task *out) {
  chip_part part = {.kernel = kernel, .count = nargs, .core = core};
  submit s = {.self = self, .parts = &part, .nparts = 1, .args = args, .nargs = nargs};
  return submit_any(&s, options, out);
}

/* The kernels of a mixed task as parts: of one list if all were handed the same one, else of all lists
** behind one another. Returns how many arguments that are. */
static uint32_t make_parts(const chip_kernel *const kernels[CHIP_PARTS], const baton_lane lanes[CHIP_PARTS],
                           chip_part parts[CHIP_PARTS], uint32_t *count) {
  uint32_t nargs = 0, total = 0;
  int shared = 1;
  *count = 0;
  for (uint32_t place = 0; place < CHIP_PARTS; place++) {
    if (!kernels[place]) continue;
    const baton_lane *lane = &lanes[place];
    parts[*count] = (chip_part){.kernel = kernels[place],
                                .first = total,
                                .count = lane->nargs,
                                .core = place ? BATON_AIV : BATON_AIC,
                                .place = place};
    const baton_lane *first = &lanes[parts[0].place];
    shared &= lane->args == first->args && lane->nargs == first->nargs;
    if (++*count == 1) nargs = lane->nargs;
    total += lane->nargs;
  }
  for (uint32_t i = 0; i < *count && shared; i++) parts[i].first = 0;
  return shared ? nargs : total;
}

baton_status chip_submit_mix(chip_orchestrator *self, const chip_kernel *const kernels[CHIP_PARTS],
                             const baton_lane lanes[CHIP_PARTS], const baton_task_options *options,
                             baton_task *out) {
  chip_part parts[CHIP_PARTS];
  submit s = {.self = self, .parts = parts, .mixed = 1};
  s.nargs = make_parts(kernels, lanes, parts, &s.nparts);
  s.args = lanes[parts[0].place].args;
  if (s.nargs == parts[0].count) return submit_any(&s, options, out);
  baton_arg *lists = base_alloc(s.nargs * sizeof *lists);
  if (!lists) return base_out_of_memory(&self->failure, "the arguments of a mixed task");
  for (uint32_t i = 0; i < s.nparts; i++)
    if (parts[i].count)
      memcpy(lists + parts[i].first, lanes[parts[i].place].args, parts[i].count * sizeof *lists);
  s.args = lists;
  baton_status status = submit_any(&s, options, out);
  base_free(lists);
  return status;
}
