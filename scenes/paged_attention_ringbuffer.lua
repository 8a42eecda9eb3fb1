-- paged_attention_ringbuffer: paged attention with room for 64 tasks, 4 MiB of intermediates and 256 edges at a time:
-- what is over makes room for what comes, so a run of any length fits. Only where tasks run while others are submitted.
local baton = require "baton"
local scenes = require "baton.scene"

local base = scenes.load(((... or arg[0]):match "^.*/" or "") .. "paged_attention.lua")
local attention = dofile(base.folder .. "/shared/paged_attention.lua")

local default = { batch = 8, heads = 16, size = 64, block = 64, context = 1024, most = 1024 }
local long = { batch = 32, context = 4096, most = 4096 }

return baton.scene {
  name = "paged_attention_ringbuffer",
  program = base.program,
  runtimes = { "tensormap_and_ringbuffer" },
  config = { ring_task_window = 64, ring_heap = "4MiB", ring_dep_pool = 256 },
  cases = {
    attention.case("default", "f32", default), attention.case("default_bf16", "bf16", default),
    attention.case("long", "f32", long, { manual = true }), attention.case("long_bf16", "bf16", long, { manual = true }),
  },
  args = base.args,
  golden = base.golden,
  tolerance = base.tolerance,
}
