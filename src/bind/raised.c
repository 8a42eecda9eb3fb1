/* What Lua code raised, as an error of C. */
#include "bind/bind.h"
#include <string.h>

static baton_status code_of(const char *word) {
  for (int code = BATON_OK + 1; code < BATON_STATUS_COUNT; code++)
    if (strcmp(word, baton_status_word((baton_status)code)) == 0) return (baton_status)code;
  return BATON_USER_FAIL; /* a word of the user's own */
}

static const struct {
  const char *name;
  baton_error_field field;
} texts[] = {{"hint", BATON_FIELD_HINT},
             {"task", BATON_FIELD_TASK},
             {"kernel", BATON_FIELD_KERNEL},
             {"cause", BATON_FIELD_CAUSE},
             {"path", BATON_FIELD_PATH}};

static void take_texts(lua_State *L, int index, baton_error *err) {
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    if (lua_getfield(L, index, texts[i].name) != LUA_TNIL)
      baton_error_text(err, texts[i].field, "%s", luaL_tolstring(L, -1, NULL));
    lua_settop(L, index);
  }
}

/* True if the field is an integer of 32 bits. */
static int take_number(lua_State *L, int index, const char *name, int32_t *out) {
  int good = 0;
  lua_Integer value = lua_getfield(L, index, name) == LUA_TNUMBER ? lua_tointegerx(L, -1, &good) : 0;
  lua_pop(L, 1);
  if (!good || value < INT32_MIN || value > INT32_MAX) return 0;
  *out = (int32_t)value;
  return 1;
}

static void take_numbers(lua_State *L, int index, baton_error *err) {
  if (take_number(L, index, "core", &err->core)) err->known |= BATON_KNOWN_CORE;
  if (take_number(L, index, "device", &err->device)) err->known |= BATON_KNOWN_DEVICE;
  if (take_number(L, index, "worker", &err->worker)) err->known |= BATON_KNOWN_WORKER;
  if (take_number(L, index, "signal", &err->signal)) err->known |= BATON_KNOWN_SIGNAL;
  if (lua_getfield(L, index, "round") == LUA_TNUMBER) {
    err->round = lua_tointeger(L, -1);
    err->known |= BATON_KNOWN_ROUND;
  }
  if (lua_getfield(L, index, "after_ms") == LUA_TNUMBER) {
    err->after_ms = lua_tonumber(L, -1);
    err->known |= BATON_KNOWN_AFTER_MS;
  }
  lua_settop(L, index);
}

/* The error object on top of the stack. */
static void take_object(lua_State *L, baton_error *err) {
  int index = lua_gettop(L);
  lua_getfield(L, index, "code");
  baton_status code = lua_type(L, -1) == LUA_TSTRING ? code_of(lua_tostring(L, -1)) : BATON_USER_FAIL;
  lua_getfield(L, index, "message");
  baton_error_set(err, code, "%s", luaL_tolstring(L, -1, NULL));
  lua_settop(L, index);
  take_texts(L, index, err);
  take_numbers(L, index, err);
}

void bind_take_failure(lua_State *L, int index, baton_error *err) {
  int top = lua_gettop(L);
  luaL_checkstack(L, 6, NULL);
  lua_pushvalue(L, index);
  if (bind_is_failure(L, top + 1))
    take_object(L, err);
  else
    baton_error_set(err, BATON_USER_FAIL, "%s", luaL_tolstring(L, top + 1, NULL));
  lua_settop(L, top);
}
