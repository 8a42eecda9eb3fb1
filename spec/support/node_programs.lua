-- What the specs of nodes share: how workers are kept apart, and small programs whose results tell an order.
local baton = require "baton"
local gate = require "spec.support.gate"

local nodes = {}

--- BATON_ISOLATIONS names those to test: "thread", "process", or both.
nodes.isolations = {}
for name in (os.getenv "BATON_ISOLATIONS" or "thread process"):gmatch "%a+" do
  nodes.isolations[#nodes.isolations + 1] = name
end

--- A node with two chips; `options` adds to that.
function nodes.open(isolation, options)
  local all = { level = 3, devices = 2, isolation = isolation }
  for name, value in pairs(options or {}) do all[name] = value end
  return baton.worker(all)
end

local code = ([[
#include <baton/kernel.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Lets others run; after a long time the task fails. */
static void pause_until(const baton_args *args, time_t last, const char *what) {
  if (time(NULL) > last) baton_kernel_fail(args, "%%s for %d s", what);
  sched_yield();
}

static const char *gate_file(char *path, size_t size, const char *name) {
  snprintf(path, size, "%%s/%%s", getenv("BATON_TEST_GATE"), name);
  return path;
}

/* Of the host: leaves the mark `began`, and adds 1 to x when the gate is open. */
BATON_KERNEL(hold) {
  char path[4096];
  close(open(gate_file(path, sizeof path, "began"), O_WRONLY | O_CREAT, 0600));
  gate_file(path, sizeof path, "open");
  for (time_t last = time(NULL) + %d; access(path, F_OK) != 0;) pause_until(args, last, "the gate is closed");
  baton_io(args, 0, int64_t)[0] += 1;
}
/* Of the host: the next number of the counter. */
BATON_KERNEL(tick) {
  baton_out(args, 1, int32_t)[0] = __atomic_add_fetch(baton_io(args, 0, int32_t), 1, __ATOMIC_RELAXED);
}
/* Of the host: the same, and waits for `members` tasks that share `arrived`. */
BATON_KERNEL(meet) {
  int32_t *arrived = baton_io(args, 2, int32_t), members = (int32_t)baton_scalar_i64(args, 3);
  baton_out(args, 1, int32_t)[0] = __atomic_add_fetch(baton_io(args, 0, int32_t), 1, __ATOMIC_RELAXED);
  baton_signal_add(args, arrived, 1);
  for (time_t last = time(NULL) + %d; __atomic_load_n(arrived, __ATOMIC_ACQUIRE) < members;)
    pause_until(args, last, "a member is missing");
}
BATON_KERNEL(append) { /* x = 10 x + digit: shows the order of tasks */
  int64_t *x = baton_io(args, 0, int64_t);
  x[0] = 10 * x[0] + baton_scalar_i64(args, 1);
}
BATON_KERNEL(fill) {
  int64_t *x = baton_out(args, 0, int64_t);
  for (int64_t i = 0, n = baton_numel(args, 0); i < n; i++) x[i] = baton_scalar_i64(args, 1);
}
BATON_KERNEL(copy) {
  const int64_t *a = baton_in(args, 0, int64_t);
  int64_t *c = baton_out(args, 1, int64_t);
  for (int64_t i = 0, n = baton_numel(args, 0); i < n; i++) c[i] = a[i];
}
BATON_KERNEL(turned) { /* copy, with the result first */
  const int64_t *a = baton_in(args, 1, int64_t);
  int64_t *c = baton_out(args, 0, int64_t);
  for (int64_t i = 0, n = baton_numel(args, 0); i < n; i++) c[i] = a[i];
}
BATON_KERNEL(mix) { /* c = 3 a + b + k */
  const int64_t *a = baton_in(args, 0, int64_t), *b = baton_in(args, 1, int64_t);
  uint64_t k = baton_scalar_u64(args, 3);
  for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++)
    baton_out(args, 2, int64_t)[i] = (int64_t)(3 * (uint64_t)a[i] + (uint64_t)b[i] + k);
}
BATON_KERNEL(stop) { baton_kernel_fail(args, "stopped at %%lld", (long long)baton_scalar_i64(args, 1)); }
BATON_KERNEL(crash) { (void)args; *(volatile int *)8 = 1; }
]]):format(gate.seconds, gate.seconds, gate.seconds)

-- The orchestration of each device program: one task.
local orchestrations = [[
#include <baton/orchestration.h>
#define PLACE(i)  baton_param(o, args, i)
#define NUMBER(i) baton_i64(baton_scalar_i64(args, i))
#define ONE_TASK(name, ...) \
  BATON_ORCHESTRATION(name) { baton_aiv(o, baton_kernel(o, "run"), BATON_ARGS(__VA_ARGS__), NULL); }
ONE_TASK(append, baton_inout(PLACE(0)), NUMBER(1))
ONE_TASK(fill, baton_output(PLACE(0)), NUMBER(1))
ONE_TASK(copy, baton_input(PLACE(0)), baton_output(PLACE(1)))
ONE_TASK(turned, baton_output(PLACE(0)), baton_input(PLACE(1)))
ONE_TASK(mix, baton_input(PLACE(0)), baton_input(PLACE(1)), baton_output(PLACE(2)), NUMBER(3))
ONE_TASK(stop, baton_inout(PLACE(0)), NUMBER(1))
ONE_TASK(crash, baton_inout(PLACE(0)))
]]

local x, number = { "x", "inout", "i64", { "n" } }, { "k", "i64" }
local signatures = {
  hold = { x }, append = { x, number }, stop = { x, number }, crash = { x },
  fill = { { "x", "out", "i64", { "n" } }, number },
  copy = { { "a", "in", "i64", { "n" } }, { "c", "out", "i64", { "n" } } },
  turned = { { "c", "out", "i64", { "n" } }, { "a", "in", "i64", { "n" } } },
  mix = { { "a", "in", "i64", { "n" } }, { "b", "in", "i64", { "n" } }, { "c", "out", "i64", { "n" } }, number },
  tick = { { "counter", "inout", "i32", { 1 } }, { "ticket", "out", "i32", { 1 } } },
  meet = { { "counter", "inout", "i32", { 1 } }, { "ticket", "out", "i32", { 1 } }, { "arrived", "inout", "i32", { 1 } },
    { "members", "i64" } },
}

-- A kernel's signature: names and directions.
local function kernel_signature(signature)
  local list = {}
  for i, entry in ipairs(signature) do list[i] = { entry[1], entry[2] } end
  return list
end

--- Functions of the host: hold(x), tick(counter, ticket), meet(counter, ticket, arrived, members).
for _, name in ipairs { "hold", "tick", "meet" } do
  nodes[name] = baton.program { name = name, signature = signatures[name], host = { code = code, entry = name } }
end

--- Device programs of one task: append(x, digit), fill(x, value), copy(a, c), turned(c, a), mix(a, b, c, k),
--- stop(x, number), crash(x).
for _, name in ipairs { "append", "fill", "copy", "turned", "mix", "stop", "crash" } do
  nodes[name] = baton.program {
    name = name, signature = signatures[name],
    kernels = { run = { core = "aiv", code = code, entry = name, signature = kernel_signature(signatures[name]) } },
    orchestration = { code = orchestrations, entry = name },
  }
end

return nodes
