local baton = require "baton"
local glue = require "baton.busted"
local scenes = require "baton.scene"
local tensor = require "baton.tensor"

glue.scene "scenes/vector_add.lua"
glue.scene "scenes/vector_add_c.lua"

describe("scenes/vector_add.lua and scenes/vector_add_c.lua", function()
  it("submit a task for each piece, and one for what is left", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    for n, tasks in pairs { [0] = 0, [1] = 1, [16384] = 1, [16385] = 2, [100000] = 7 } do
      for _, name in ipairs { "vector_add", "vector_add_c" } do
        local a, b = tensor.arange("f32", { n }), tensor.full("f32", { n }, 0.5)
        local c = tensor.zeros("f32", { n })
        local timing = chip:run(scenes.load("scenes/" .. name .. ".lua").program, { a = a, b = b, c = c })
        assert.equal(tasks, timing.tasks)
        assert.tensor_close(c, a + b, { rtol = 0, atol = 0 })
      end
    end
  end)
end)
