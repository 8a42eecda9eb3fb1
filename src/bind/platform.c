/* baton.platforms, baton.platform and baton.device_owner. */
#include "bind/bind.h"
#include <baton/platform.h>

/* platforms() -> the names of the platforms of this build, the default one first */
static int list_platforms(lua_State *L) {
  lua_newtable(L);
  for (uint32_t i = 0; baton_platform_name(i); i++) {
    lua_pushstring(L, baton_platform_name(i));
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static void set_count(lua_State *L, const char *name, uint64_t count) {
  lua_pushinteger(L, (lua_Integer)count);
  lua_setfield(L, -2, name);
}

/* platform(name) -> { name=, clusters=, aic=, aiv=, control_threads=, clock_hz=, memory=, threads= } */
static int describe_platform(lua_State *L) {
  baton_platform platform;
  const char *name = bind_check_string(L, 1, "name");
  baton_error *err = bind_error(L);
  if (baton_platform_describe(name, &platform, err) != BATON_OK) return bind_raise(L, err);
  lua_createtable(L, 0, 8);
  lua_pushstring(L, platform.name);
  lua_setfield(L, -2, "name");
  set_count(L, "clusters", platform.clusters);
  set_count(L, "aic", platform.clusters * platform.aic_per_cluster);
  set_count(L, "aiv", platform.clusters * platform.aiv_per_cluster);
  set_count(L, "control_threads", platform.control_threads);
  set_count(L, "clock_hz", platform.clock_hz);
  set_count(L, "memory", platform.memory);
  set_count(L, "threads", platform.threads);
  return 1;
}

/* device_owner(platform, device) -> number of the process that has it open, or nil */
static int device_owner(lua_State *L) {
  const char *name = bind_check_string(L, 1, "platform");
  int64_t device = bind_check_integer(L, 2, "device", 0, INT32_MAX);
  int32_t owner = baton_platform_owner(name, (uint32_t)device);
  if (!owner) return 0;
  lua_pushinteger(L, owner);
  return 1;
}

void bind_open_platform(lua_State *L) {
  static const luaL_Reg functions[] = {{"platforms", list_platforms},
                                       {"platform", describe_platform},
                                       {"device_owner", device_owner},
                                       {NULL, NULL}};
  bind_functions(L, "baton", functions);
}
