-- The runs of a node in soak.sh; argument: how many with each isolation. One run is always registered.
local baton = require "baton"
local host = require "baton.host"
local memory = require "spec.support.memory"
local tensor = require "baton.tensor"

local runs = math.tointeger(tonumber(arg[1])) or error "the number of runs is no integer"
local most_kib = 2048 -- that the process may grow in all runs but the first tenth

local program = baton.program {
  name = "soak",
  signature = { { "x", "inout", "f32", { "n" } } },
  kernels = {
    add = { core = "aiv", signature = { { "x", "inout" } }, code = [[
      #include <baton/kernel.h>
      BATON_KERNEL(add) {
        float *x = baton_io(args, 0, float);
        for (int64_t i = 0, n = baton_numel(args, 0); i < n; i++) x[i] = x[i] < 1000 ? x[i] + 1 : 0;
      }]] },
  },
  graph = function(g, x) g.aiv("add", x) end,
}

-- Runs them; returns how much the process has grown.
local function soak(node)
  local x = tensor.zeros("f32", { 256 })
  local function build(orch)
    local between = orch.alloc("f32", { 256 })
    orch.submit_next_level(program, { baton.output(between) }, { worker = 0 })
    orch.submit_next_level(program, { x })
  end
  local last, before = node:submit(build), nil
  for run = 2, runs do
    local next_run = node:submit(build)
    last:wait()
    last = next_run
    if run == math.max(runs // 10, 2) then before = memory.resident() end
  end
  last:wait()
  assert(x:get(256) == runs % 1001, "a wrong result")
  return memory.resident() - before
end

local worst = 0
for _, isolation in ipairs { "thread", "process" } do
  local node <close> = baton.worker { level = 3, devices = 2, isolation = isolation }
  local begun = host.now()
  local grown = soak(node)
  worst = math.max(worst, grown)
  print(("node  %s  %d runs  %.2f us a run  %d KiB more"):format(isolation, runs, (host.now() - begun) / runs * 1e6, grown))
end
if memory.is_telling and worst > most_kib then error(("memory grows: %d KiB more, %d are allowed"):format(worst, most_kib), 0) end
