/* The option table of baton.program. Texts are borrowed from it, the rest lies in userdata that an anchor
** table keeps: errors leave by longjmp at any point. */
#include "bind/program.h"
#include "chip/program/source.h"
#include <stdlib.h>
#include <string.h>

/* What the readers share. */
typedef struct reader {
  lua_State *L;
  int anchor;
  const char *program;
  const char *file; /* that calls baton.program; NULL: none */
} reader;

void *bind_scratch(lua_State *L, int anchor, size_t size) {
  luaL_checkstack(L, 2, NULL);
  void *block = lua_newuserdatauv(L, size, 0);
  memset(block, 0, size);
  lua_rawseti(L, anchor, (lua_Integer)lua_rawlen(L, anchor) + 1);
  return block;
}

/* Keeps the text on top of the stack and pops it. */
static const char *keep_text(const reader *r) {
  const char *text = lua_tostring(r->L, -1);
  lua_rawseti(r->L, r->anchor, (lua_Integer)lua_rawlen(r->L, r->anchor) + 1);
  return text;
}

static int push_field(const reader *r, int table, const char *name) {
  lua_pushstring(r->L, name);
  return lua_rawget(r->L, table);
}

static void check_text(const reader *r, const char *who, const char *name, const char *expected) {
  lua_State *L = r->L;
  if (lua_type(L, -1) != LUA_TSTRING)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: field '%s' must be %s, got %s", who, name, expected,
              bind_describe(L, -1));
  if (strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1))
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: field '%s' must not contain a zero byte", who, name);
}

static const char *read_text(const reader *r, int table, const char *who, const char *name) {
  const char *text = NULL;
  if (push_field(r, table, name) != LUA_TNIL) {
    check_text(r, who, name, "a string");
    text = lua_tostring(r->L, -1); /* the table keeps it */
  }
  lua_pop(r->L, 1);
  return text;
}

static int read_flag(const reader *r, int table, const char *who, const char *name, int absent) {
  int type = push_field(r, table, name), value = type == LUA_TNIL ? absent : lua_toboolean(r->L, -1);
  if (type != LUA_TNIL && type != LUA_TBOOLEAN)
    bind_fail(r->L, BATON_INVALID_ARGUMENT, "%s: field '%s' must be true or false, got %s", who, name,
              bind_describe(r->L, -1));
  lua_pop(r->L, 1);
  return value;
}

/* A string, or a list of strings; NULL if absent. */
static const char *const *read_texts(const reader *r, int table, const char *who, const char *name) {
  lua_State *L = r->L;
  int type = push_field(r, table, name);
  const char **texts = NULL;
  if (type == LUA_TTABLE) {
    lua_Unsigned count = lua_rawlen(L, -1);
    texts = bind_scratch(L, r->anchor, (size_t)(count + 1) * sizeof *texts);
    for (lua_Unsigned i = 0; i < count; i++) {
      lua_rawgeti(L, -1, (lua_Integer)i + 1);
      check_text(r, who, name, "a string or a list of strings");
      texts[i] = lua_tostring(L, -1);
      lua_pop(L, 1);
    }
  } else if (type != LUA_TNIL) {
    check_text(r, who, name, "a string or a list of strings");
    texts = bind_scratch(L, r->anchor, 2 * sizeof *texts);
    texts[0] = lua_tostring(L, -1);
  }
  lua_pop(L, 1);
  return texts;
}

/* Where inline code stands, for the compiler's messages: its line if the file holds it, else a name. */
static const char *locate_code(const reader *r, const char *code, uint32_t *line) {
  *line = 1;
  if (!code) return NULL;
  if (!r->file) return "inline code";
  if (chip_source_line(r->file, code, line)) return r->file;
  lua_pushfstring(r->L, "%s (inline code)", r->file);
  return keep_text(r);
}

/* ---- kernels ---- */

static baton_core read_core(const reader *r, int table, const char *who) {
  lua_State *L = r->L;
  int type = push_field(r, table, "core");
  const char *word = type == LUA_TSTRING ? lua_tostring(L, -1) : "";
  baton_core core = strcmp(word, "aic") == 0 ? BATON_AIC : BATON_AIV;
  if (core == BATON_AIV && strcmp(word, "aiv") != 0)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: field 'core' must be \"aic\" or \"aiv\", got %s", who,
              bind_describe(L, -1));
  lua_pop(L, 1);
  return core;
}

static void check_alternatives(const reader *r, const char *who, const char *source, const char *code,
                               const char *object) {
  int count = (source != NULL) + (code != NULL) + (object != NULL);
  if (count == 1) return;
  bind_fail(r->L, BATON_INVALID_ARGUMENT, "%s: exactly one of source, code and object expected, got %s", who,
            count == 0 ? "none"
            : !object  ? "source and code"
            : !code    ? "source and object"
            : source   ? "all three"
                       : "code and object");
}

/* Where the code of a kernel or of a function of the host is, and how it is compiled. */
static void read_code(const reader *r, int table, const char *who, baton_kernel_options *kernel) {
  kernel->source = read_text(r, table, who, "source");
  kernel->code = read_text(r, table, who, "code");
  kernel->object = read_text(r, table, who, "object");
  check_alternatives(r, who, kernel->source, kernel->code, kernel->object);
  kernel->code_file = locate_code(r, kernel->code, &kernel->code_line);
  kernel->entry = read_text(r, table, who, "entry");
  kernel->cflags = read_texts(r, table, who, "cflags");
  kernel->include = read_texts(r, table, who, "include");
  kernel->libs = read_texts(r, table, who, "libs");
}

/* The kernel whose table is on top of the stack. */
static void read_kernel(const reader *r, const char *name, baton_kernel_options *kernel) {
  static const char *const keys[] = {"core",   "source",  "code", "object",  "entry", "signature",
                                     "cflags", "include", "libs", "strided", "waits", NULL};
  lua_State *L = r->L;
  int table = lua_gettop(L);
  lua_pushfstring(L, "%s: kernel %s", r->program, name);
  const char *who = keep_text(r);
  if (lua_type(L, table) != LUA_TTABLE)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s must be a table, got %s", who, bind_describe(L, table));
  bind_check_options(L, table, who, keys);
  kernel->name = name;
  kernel->core = read_core(r, table, who);
  read_code(r, table, who, kernel);
  kernel->strided = read_flag(r, table, who, "strided", 0);
  kernel->params = bind_read_signature(L, r->anchor, table, who, &kernel->nparams);
  kernel->waits = read_flag(r, table, who, "waits", 0);
}

static int order_texts(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of the table on top of the stack, sorted: the order of a Lua table differs from run to run. */
static const char **read_names(const reader *r, uint32_t *count) {
  lua_State *L = r->L;
  int table = lua_gettop(L);
  uint32_t found = 0, i = 0;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1), found++) {
    if (lua_type(L, -2) != LUA_TSTRING || lua_rawlen(L, -2) == 0 ||
        strlen(lua_tostring(L, -2)) != lua_rawlen(L, -2))
      bind_fail(L, BATON_INVALID_ARGUMENT,
                "%s: field 'kernels' must be keyed by the kernels' names, got the key %s", r->program,
                bind_describe(L, -2));
  }
  const char **names = bind_scratch(L, r->anchor, (found + 1) * sizeof *names);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) names[i++] = lua_tostring(L, -2);
  qsort(names, found, sizeof *names, order_texts);
  *count = found;
  return names;
}

static void read_kernels(const reader *r, baton_program_options *options) {
  lua_State *L = r->L;
  int type = push_field(r, 1, "kernels"), table = lua_gettop(L);
  if (type != LUA_TNIL && type != LUA_TTABLE)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: field 'kernels' must be a table, got %s", r->program,
              bind_describe(L, table));
  if (type == LUA_TTABLE) {
    const char **names = read_names(r, &options->nkernels);
    baton_kernel_options *kernels = bind_scratch(L, r->anchor, (options->nkernels + 1) * sizeof *kernels);
    for (uint32_t i = 0; i < options->nkernels; i++) {
      push_field(r, table, names[i]);
      read_kernel(r, names[i], &kernels[i]);
      lua_pop(L, 1);
    }
    options->kernels = kernels;
  }
  lua_pop(L, 1);
}

/* ---- the rest ---- */

/* The orchestration whose table is on top of the stack. */
static void read_orchestration(const reader *r, baton_program_options *options) {
  static const char *const keys[] = {"source", "code", "object", "entry", "cflags", "include", "libs", NULL};
  lua_State *L = r->L;
  int table = lua_gettop(L);
  lua_pushfstring(L, "%s: orchestration", r->program);
  const char *who = keep_text(r);
  if (lua_type(L, table) != LUA_TTABLE)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s must be a table, got %s", who, bind_describe(L, table));
  bind_check_options(L, table, who, keys);
  options->orchestration_source = read_text(r, table, who, "source");
  options->orchestration_code = read_text(r, table, who, "code");
  options->orchestration_object = read_text(r, table, who, "object");
  check_alternatives(r, who, options->orchestration_source, options->orchestration_code,
                     options->orchestration_object);
  options->orchestration_code_file =
      locate_code(r, options->orchestration_code, &options->orchestration_code_line);
  options->orchestration_entry = read_text(r, table, who, "entry");
  options->orchestration_cflags = read_texts(r, table, who, "cflags");
  options->orchestration_include = read_texts(r, table, who, "include");
  options->orchestration_libs = read_texts(r, table, who, "libs");
}

/* The function of the host whose table is on top of the stack. */
static void read_host(const reader *r, baton_program_options *options) {
  static const char *const keys[] = {"source", "code", "object", "entry", "cflags", "include", "libs", NULL};
  lua_State *L = r->L;
  int table = lua_gettop(L);
  lua_pushfstring(L, "%s: host", r->program);
  const char *who = keep_text(r);
  if (lua_type(L, table) != LUA_TTABLE)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s must be a table, got %s", who, bind_describe(L, table));
  bind_check_options(L, table, who, keys);
  baton_kernel_options *host = bind_scratch(L, r->anchor, sizeof *host);
  read_code(r, table, who, host);
  options->host = host;
}

/* Exactly one of the three is there. */
static void check_body(const reader *r, int graph, int orchestration, int host) {
  const char *got = graph && orchestration && host ? "all three"
                    : graph && orchestration       ? "graph and orchestration"
                    : graph && host                ? "graph and host"
                    : orchestration && host        ? "orchestration and host"
                                                   : "none";
  if (graph + orchestration + host != 1)
    bind_fail(r->L, BATON_INVALID_ARGUMENT,
              "%s: exactly one of graph, orchestration and host expected, got %s", r->program, got);
}

/* True for a Lua graph, whose function then is on top of the stack. */
static int read_body(const reader *r, baton_program_options *options) {
  lua_State *L = r->L;
  int graph = push_field(r, 1, "graph"), host = push_field(r, 1, "host"),
      orchestration = push_field(r, 1, "orchestration");
  check_body(r, graph != LUA_TNIL, orchestration != LUA_TNIL, host != LUA_TNIL);
  if (orchestration != LUA_TNIL) read_orchestration(r, options);
  lua_pop(L, 1);
  if (host != LUA_TNIL) read_host(r, options);
  lua_pop(L, 1);
  if (graph == LUA_TNIL) {
    lua_pop(L, 1);
    return 0;
  }
  if (graph != LUA_TFUNCTION)
    bind_fail(L, BATON_INVALID_ARGUMENT, "%s: field 'graph' must be a function, got %s", r->program,
              bind_describe(L, -1));
  return 1;
}

static int read_edges(const reader *r) {
  const char *edges = read_text(r, 1, r->program, "edges");
  if (edges && strcmp(edges, "explicit") != 0)
    bind_fail(r->L, BATON_INVALID_ARGUMENT, "%s: field 'edges' must be \"explicit\", got %s", r->program,
              edges);
  return edges != NULL;
}

/* The file of the nearest Lua function on the stack; NULL if it is none (a prompt, -e). */
static const char *calling_file(const reader *r) {
  lua_Debug at;
  for (int level = 1; lua_getstack(r->L, level, &at); level++) {
    lua_getinfo(r->L, "S", &at);
    if (at.what[0] == 'C') continue;
    if (at.source[0] != '@') return NULL;
    lua_pushstring(r->L, at.source + 1);
    return keep_text(r);
  }
  return NULL;
}

/* The folder of that file; NULL: the working directory. */
static const char *calling_folder(const reader *r) {
  const char *slash = r->file ? strrchr(r->file, '/') : NULL;
  if (!slash) return NULL;
  lua_pushlstring(r->L, r->file, slash == r->file ? 1 : (size_t)(slash - r->file));
  return keep_text(r);
}

int bind_read_program(lua_State *L, int anchor, baton_program_options *options) {
  static const char *const keys[] = {"name",  "signature", "kernels", "graph",   "orchestration", "host",
                                     "edges", "keep",      "cflags",  "include", "libs",          NULL};
  reader r = {.L = L, .anchor = anchor, .program = "baton.program"};
  luaL_checkstack(L, 16, NULL);
  *options = (baton_program_options){0};
  options->name = read_text(&r, 1, r.program, "name");
  if (!options->name || !options->name[0])
    bind_fail(L, BATON_INVALID_ARGUMENT, "baton.program: field 'name' is missing");
  r.program = options->name;
  r.file = calling_file(&r);
  bind_check_options(L, 1, r.program, keys);
  options->directory = calling_folder(&r);
  options->params = bind_read_signature(L, anchor, 1, r.program, &options->nparams);
  options->cflags = read_texts(&r, 1, r.program, "cflags");
  options->include = read_texts(&r, 1, r.program, "include");
  options->libs = read_texts(&r, 1, r.program, "libs");
  options->explicit_edges = read_edges(&r);
  options->rebuild = !read_flag(&r, 1, r.program, "keep", 1);
  read_kernels(&r, options);
  return read_body(&r, options);
}
