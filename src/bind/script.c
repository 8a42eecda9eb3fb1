#include "bind/script.h"
#include "base/memory.h"
#include "bind/graph.h"
#include "bind/orch.h"
#include "bind/pack.h"
#include "bind/script_interrupt.h"
#include "chip/orchestrator.h"
#include "tensor/storage.h"
#include <lualib.h>
#include <stdio.h>
#include <string.h>

/* One call, on the C stack of who makes it. */
typedef struct script_job {
  const char *data;
  uint64_t bytes;
  const baton_view *views; /* a function of the host */
  uint32_t nviews;
  node_bytes *result;
  baton_node *node; /* an orchestrating function */
  const baton_config *config;
  baton_node_orch *run;
  baton_orch *o; /* a graph */
  const baton_args *args;
  bind_orch *orch;
  baton_error failure; /* code BATON_OK: none */
} script_job;

/* Its address stands in the extra space of the state. One thread at a time; interrupts come from any. */
typedef struct script {
  lua_State *L;
  script_job *job; /* that runs now */
  script_interrupt interrupt;
} script;

static script *script_of(lua_State *L) {
  script *self;
  memcpy(&self, lua_getextraspace(L), sizeof self);
  return self;
}

/* --- Tensors -------------------------------------------------------------------------------------------- */

/* A tensor over the memory of a view. */
static baton_status wrap_view(const baton_view *view, baton_tensor **out, baton_error *err) {
  baton_dtype dtype = (baton_dtype)view->dtype;
  uint64_t below, above;
  baton_tensor *whole;
  *out = NULL;
  if (baton_view_contiguous(view))
    return baton_tensor_wrap(view->data, dtype, view->ndim, view->shape, out, err);
  if (!tensor_reach(view, &below, &above))
    return baton_error_set(err, BATON_INVALID_ARGUMENT, "a tensor of the call is no memory");
  int64_t count = (int64_t)((below + above) / baton_dtype_size(dtype));
  BATON_TRY(baton_tensor_wrap((char *)view->data - below, dtype, 1, &count, &whole, err));
  baton_view part = *baton_tensor_view(whole);
  part.data = view->data;
  part.ndim = view->ndim;
  memcpy(part.shape, view->shape, sizeof part.shape);
  memcpy(part.strides, view->strides, sizeof part.strides);
  baton_status status = baton_tensor_from_view(whole, &part, out, err);
  baton_tensor_close(whole);
  return status;
}

/* Pushes the list of the job's tensors. */
static void push_tensors(lua_State *L, const script_job *job) {
  lua_createtable(L, (int)job->nviews, 0);
  for (uint32_t i = 0; i < job->nviews; i++) {
    baton_error *err = bind_error(L);
    if (wrap_view(&job->views[i], bind_new_tensor(L), err) != BATON_OK) bind_raise(L, err);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

/* Nobody may touch the memory when the call is over. */
static void close_tensors(lua_State *L, int list, uint32_t count) {
  for (uint32_t i = 1; i <= count; i++) {
    lua_rawgeti(L, list, i);
    luaL_getmetafield(L, -1, "__close");
    lua_insert(L, -2);
    lua_call(L, 1, 0);
  }
}

/* --- Calls ---------------------------------------------------------------------------------------------- */

/* Pushes a traceback without the functions of C at its end, which are ours. */
static const char *push_traceback(lua_State *L) {
  static const char ours[] = "\n\t[C]: in ?";
  const size_t size = sizeof ours - 1;
  size_t length;
  luaL_traceback(L, L, NULL, 1);
  const char *text = lua_tolstring(L, -1, &length);
  while (length > size && memcmp(text + length - size, ours, size) == 0) length -= size;
  return lua_pushlstring(L, text, length);
}

/* Message handler: the error becomes the failure of the job while its stack is still there. */
static int take_error(lua_State *L) {
  baton_error *failure = &script_of(L)->job->failure;
  bind_take_failure(L, 1, failure);
  const char *trace = push_traceback(L);
  if (!strchr(trace, '\n')) return 1; /* nobody but us called */
  if (failure->cause)
    baton_error_text(failure, BATON_FIELD_CAUSE, "%s\n%s", failure->cause, trace);
  else
    baton_error_text(failure, BATON_FIELD_CAUSE, "%s", trace);
  return 1;
}

/* Arguments: the list of tensors. */
static int call_function(lua_State *L) {
  const script_job *job = script_of(L)->job;
  bind_unpack_call(L, job->data, job->bytes, 1);
  lua_call(L, 1, LUA_MULTRET);
  bind_pack_results(L, 2, lua_gettop(L) - 1, "the function", job->result);
  return 0;
}

static int run_function(lua_State *L) {
  const script_job *job = script_of(L)->job;
  push_tensors(L, job);
  lua_pushcfunction(L, take_error);
  lua_pushcfunction(L, call_function);
  lua_pushvalue(L, 1);
  int status = lua_pcall(L, 1, 0, 2);
  close_tensors(L, 1, job->nviews);
  fflush(stdout); /* what io.write left */
  if (status == LUA_ERRMEM) luaL_error(L, "not enough memory");
  return 0;
}

/* An orchestrating function in the run that has begun, protected: the list of tensors. What it returns is packed at once: what it
** waits for it has then. */
static int call_orchestration(lua_State *L) {
  script_job *job = script_of(L)->job;
  baton_error *err = bind_push_error(L), *failure = bind_push_error(L);
  lua_pushnil(L); /* nobody in this state owns the node */
  bind_orch *orch = bind_push_orch(L, job->run, job->node, err, failure, 4);
  job->orch = orch;
  bind_unpack_call(L, job->data, job->bytes, 1);
  lua_pushvalue(L, 6);
  lua_pushvalue(L, 5);
  lua_pushvalue(L, 7);
  lua_call(L, 2, LUA_MULTRET);
  bind_pack_results(L, 8, lua_gettop(L) - 7, "the function", job->result);
  return 0;
}

static baton_status orchestrate(baton_node_orch *o, void *context, baton_error *err) {
  lua_State *L = context;
  script_job *job = script_of(L)->job;
  job->run = o;
  lua_pushcfunction(L, take_error);
  lua_pushcfunction(L, call_orchestration);
  lua_pushvalue(L, 1);
  int status = lua_pcall(L, 1, 0, 2);
  if (job->orch) job->orch->o = NULL;
  if (status == LUA_OK) return BATON_OK;
  if (status == LUA_ERRMEM)
    baton_error_set(&job->failure, BATON_OUT_OF_MEMORY, "no memory in the Lua state of the worker");
  return baton_error_copy(err, &job->failure);
}

static int run_orchestration(lua_State *L) {
  script_job *job = script_of(L)->job;
  baton_error outcome = {0};
  push_tensors(L, job);
  baton_status status = baton_node_run_function(job->node, orchestrate, L, job->config, NULL, &outcome);
  if (status != BATON_OK && job->failure.code == BATON_OK) baton_error_copy(&job->failure, &outcome);
  baton_error_clear(&outcome);
  lua_settop(L, 1);
  close_tensors(L, 1, job->nviews);
  fflush(stdout); /* what io.write left */
  return 0;
}

static int run_graph(lua_State *L) {
  const script_job *job = script_of(L)->job;
  const baton_program *program = ((const chip_orchestrator *)job->o)->bindings->program;
  lua_pushcfunction(L, take_error);
  bind_unpack_function(L, job->data, job->bytes);
  (void)bind_call_graph(L, 2, 1, program, job->o, job->args);
  return 0;
}

/* Runs `body` over the job, protected and interruptible. Its failure is in the job. */
static void run(script *self, lua_CFunction body, script_job *job) {
  lua_State *L = self->L;
  self->job = job;
  script_interrupt_begin(&self->interrupt, L);
  lua_pushcfunction(L, take_error);
  lua_pushcfunction(L, body);
  int status = lua_pcall(L, 0, 0, 1);
  script_interrupt_end(&self->interrupt, L);
  lua_settop(L, 0);
  self->job = NULL;
  if (status == LUA_OK || job->failure.code != BATON_OK) return;
  if (status == LUA_ERRMEM)
    baton_error_set(&job->failure, BATON_OUT_OF_MEMORY, "no memory in the Lua state of the worker");
  else
    baton_error_set(&job->failure, BATON_USER_FAIL, "the function raised an error that cannot be shown");
}

/* The job fails or has a result. */
static baton_status finish(script *self, lua_CFunction body, script_job *job, baton_error *err) {
  job->result->size = 0;
  run(self, body, job);
  baton_status status = job->failure.code;
  if (status != BATON_OK) {
    job->result->size = 0;
    baton_error_copy(err, &job->failure);
  }
  baton_error_clear(&job->failure);
  return status;
}

static baton_status script_call(void *state, const char *data, uint64_t bytes, const baton_view *views,
                                uint32_t nviews, node_bytes *result, baton_error *err) {
  script_job job = {.data = data, .bytes = bytes, .views = views, .nviews = nviews, .result = result};
  return finish(state, run_function, &job, err);
}

static baton_status script_run(void *state, baton_node *node, const baton_config *config, const char *data,
                               uint64_t bytes, const baton_view *views, uint32_t nviews, node_bytes *result,
                               baton_error *err) {
  script_job job = {.data = data,
                    .bytes = bytes,
                    .views = views,
                    .nviews = nviews,
                    .result = result,
                    .node = node,
                    .config = config};
  return finish(state, run_orchestration, &job, err);
}

static void script_graph(void *state, const char *data, uint64_t bytes, baton_orch *o,
                         const baton_args *args) {
  script_job job = {.data = data, .bytes = bytes, .o = o, .args = args};
  baton_error *failure = &((chip_orchestrator *)o)->failure;
  run(state, run_graph, &job);
  if (failure->code == BATON_OK && job.failure.code != BATON_OK) baton_error_copy(failure, &job.failure);
  baton_error_clear(&job.failure);
}

static void script_stop(void *state) { script_interrupt_ask(&((script *)state)->interrupt); }

/* --- The state ------------------------------------------------------------------------------------------ */

/* print, as one write: lines of several workers do not mix. */
static int print_line(lua_State *L) {
  luaL_Buffer buffer;
  size_t length;
  int count = lua_gettop(L);
  luaL_buffinit(L, &buffer);
  for (int i = 1; i <= count; i++) {
    if (i > 1) luaL_addchar(&buffer, '\t');
    luaL_tolstring(L, i, NULL);
    luaL_addvalue(&buffer);
  }
  luaL_addchar(&buffer, '\n');
  luaL_pushresult(&buffer);
  const char *line = lua_tolstring(L, -1, &length);
  fwrite(line, 1, length, stdout);
  fflush(stdout);
  return 0;
}

static int open_libraries(lua_State *L) {
  luaL_checkversion(L);
  luaL_openlibs(L);
  lua_register(L, "print", print_line);
  bind_track_coroutines(L, &script_interrupt_running);
  bind_preload(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "baton"); /* tensors are objects of this state, required or not */
  lua_call(L, 1, 0);
  return 0;
}

static void script_close(void *state) {
  script *self = state;
  if (!self) return;
  if (self->L) lua_close(self->L);
  script_interrupt_close(&self->interrupt);
  base_free(self);
}

static baton_status open_state(script *self, baton_error *err) {
  self->L = luaL_newstate();
  if (!self->L) return base_out_of_memory(err, "a Lua state");
  memcpy(lua_getextraspace(self->L), &self, sizeof self);
  lua_pushcfunction(self->L, open_libraries);
  if (lua_pcall(self->L, 0, 0, 0) == LUA_OK) return BATON_OK;
  const char *text = lua_tostring(self->L, -1);
  return baton_error_set(err, BATON_OUT_OF_MEMORY, "a Lua state does not open: %s",
                         text ? text : "no memory");
}

static baton_status script_open(void **state, baton_error *err) {
  *state = NULL;
  script *self = base_calloc(1, sizeof *self);
  if (!self) return base_out_of_memory(err, "a Lua state");
  baton_status status = script_interrupt_open(&self->interrupt, err);
  if (status != BATON_OK) {
    base_free(self);
    return status;
  }
  status = open_state(self, err);
  if (status == BATON_OK)
    *state = self;
  else
    script_close(self);
  return status;
}

const node_script_calls *bind_script_calls(void) {
  static const node_script_calls calls = {.open = script_open,
                                          .close = script_close,
                                          .call = script_call,
                                          .run = script_run,
                                          .graph = script_graph,
                                          .interrupt = script_stop};
  return &calls;
}
