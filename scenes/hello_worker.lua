-- hello_worker: one task on one core, which writes a text in capitals.
local baton = require "baton"
local tensor = require "baton.tensor"

local program = baton.program {
  name = "hello_worker",
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

local function bytes(text) return tensor.from({ text:byte(1, -1) }, "u8") end

return baton.scene {
  name = "hello_worker",
  program = program,
  cases = { { name = "default", params = { text = "hello from a core" } } },
  args = function(p) return { text = bytes(p.text) } end,
  golden = function(args) return { text = bytes(string.char(table.unpack(args.text:totable())):upper()) } end,
}
