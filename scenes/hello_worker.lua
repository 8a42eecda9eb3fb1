-- hello_worker: open a chip, run one task on it, print the result. A plain script: `baton scenes/hello_worker.lua`.
local baton = require "baton"
local tensor = require "baton.tensor"

local hello = baton.program {
  name = "hello",
  signature = { { "text", "inout", "u8", { "n" } } },
  kernels = {
    shout = { core = "aiv", signature = { { "text", "inout" } }, code = [[
      #include <baton/kernel.h>
      BATON_KERNEL(shout) {
        uint8_t *text = baton_io(args, 0, uint8_t);
        for (int64_t i = 0, n = baton_numel(args, 0); i < n; i++)
          if (text[i] >= 'a' && text[i] <= 'z') text[i] -= 'a' - 'A';
      }]] },
  },
  graph = function(g, text) g.aiv("shout", text) end,
}

local chip <close> = baton.worker()
local text = tensor.from({ ("hello from a core"):byte(1, -1) }, "u8")
chip:run(hello, { text })
print(string.char(table.unpack(text:totable())))
