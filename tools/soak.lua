-- The rounds of soak.sh; argument: how many on each platform and runtime.
local baton = require "baton"
local host = require "baton.host"
local memory = require "spec.support.memory"
local tensor = require "baton.tensor"

local rounds = math.tointeger(tonumber(arg[1])) or error "the number of rounds is no integer"
local most_kib = 2048 -- that the process may grow in all rounds but the first tenth
local every = 1000    -- rounds between two other runs

local program = baton.program {
  name = "soak",
  signature = { { "a", "in", "f32", { "n" } }, { "b", "in", "f32", { "n" } }, { "c", "out", "f32", { "n" } } },
  kernels = {
    add = { core = "aiv", signature = { { "a", "in" }, { "b", "in" }, { "c", "out" } }, code = [[
      #include <baton/kernel.h>
      BATON_KERNEL(add) {
        const float *a = baton_in(args, 0, float), *b = baton_in(args, 1, float);
        float *c = baton_out(args, 2, float);
        for (int64_t i = 0, n = baton_numel(args, 2); i < n; i++) c[i] = a[i] + b[i];
      }]] },
  },
  graph = function(g, a, b, c)
    local half = g.alloc("f32", a.shape)
    g.aiv("add", a, b, half)
    g.aiv("add", half, b, c)
  end,
}

local function full(value) return tensor.full("f32", { 256 }, value) end

-- Runs the rounds; returns how much the process has grown.
local function soak(chip, runtime)
  local a, b, c, x = full(1), full(2), full(0), full(0)
  local others = { a, full(3) }
  local session <close> = chip:rounds(program, { a = a, b = b, c = c }, { runtime = runtime, resident = { "b" } })
  local before
  for round = 1, rounds do
    if round % every == 1 then
      chip:run(program, { a, b, x }, { runtime = runtime })
      session:init_round { a = others[round // every % 2 + 1] }
    else
      session:init_round()
    end
    session:launch()
    session:finalize_round()
    if round == math.max(rounds // 10, 1) then before = memory.resident() end
  end
  local grown = memory.resident() - before
  local want = ((rounds - 1) // every % 2 == 0 and 1 or 3) + 4
  assert(c:get(256) == want and x:get(256) == 5, "a wrong result")
  return grown
end

local worst = 0
for _, platform in ipairs(baton.platforms()) do
  for _, runtime in ipairs { "host_build_graph", "tensormap_and_ringbuffer" } do
    local chip <close> = baton.worker { platform = platform }
    local begun = host.now()
    local grown = soak(chip, runtime)
    worst = math.max(worst, grown)
    print(("%s  %s  %d rounds  %.2f us a round  %d KiB more"):format(platform, runtime, rounds,
      (host.now() - begun) / rounds * 1e6, grown))
  end
end
if memory.is_telling and worst > most_kib then error(("memory grows: %d KiB more, %d are allowed"):format(worst, most_kib), 0) end
