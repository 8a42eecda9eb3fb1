local scenes = require "baton.busted"

scenes.scene "scenes/vector_example.lua"
scenes.scene "scenes/matmul.lua"

describe("scenes/vector_example.lua", function()
  it("is five tasks and the six edges that their tensors give", function()
    local baton = require "baton"
    local scene = require("baton.scene").load "scenes/vector_example.lua"
    local chip <close> = baton.worker { platform = "a2a3sim", runtime = "host_build_graph" }
    assert.equal(5, chip:run(scene.program, scene.args(scene.cases[1].params)).tasks)
    assert.equal(6, chip:stats().edges)
  end)
end)

describe("scenes/matmul.lua", function()
  local baton = require "baton"
  local command = require "spec.support.command"
  local tensor = require "baton.tensor"
  local matmul = require("baton.scene").load "scenes/matmul.lua"

  it("multiplies matrices of any size, also without rows, columns or depth", function()
    local chip <close> = baton.worker { platform = "a2a3sim" }
    for _, size in ipairs { { 1, 1, 1 }, { 129, 127, 257 }, { 5, 0, 3 }, { 0, 4, 4 }, { 4, 300, 0 } } do
      local m, k, n = table.unpack(size)
      local args = { A = tensor.uniform("f32", { m, k }, { seed = 1 }), B = tensor.uniform("f32", { k, n }, { seed = 2 }),
        C = tensor.full("f32", { m, n }, 7) }
      chip:run(matmul.program, args)
      assert.tensor_close(args.C, args.A:matmul(args.B), { rtol = 1e-4, atol = 1e-4 })
    end
  end)

  it("has a kernel that takes views with any strides", function()
    local f32 = { "f32", { "*", "*" } }
    local program = baton.program {
      name = "transposed",
      signature = { { "a", "in", table.unpack(f32) }, { "b", "in", table.unpack(f32) }, { "c", "out", table.unpack(f32) } },
      kernels = { matmul_start = { core = "aic", source = "../../scenes/kernels/matmul_tile.c", strided = true,
        signature = { { "a", "in" }, { "b", "in" }, { "c", "out" } } } },
      graph = function(g, a, b, c) g.aic("matmul_start", a:transpose(1, 2), b:transpose(1, 2), c:transpose(1, 2)) end,
    }
    local chip <close> = baton.worker { platform = "a2a3sim" }
    local a, b = tensor.uniform("f32", { 200, 150 }, { seed = 1 }), tensor.uniform("f32", { 140, 200 }, { seed = 2 })
    local c = tensor.zeros("f32", { 140, 150 })
    chip:run(program, { a = a, b = b, c = c })
    assert.tensor_close(c, b:matmul(a), { rtol = 1e-4, atol = 1e-4 })
  end)

  it("runs on the user's own files", function()
    local folder = command.folder()
    tensor.uniform("f32", { 70, 200 }, { seed = 1 }):save(folder .. "/a.npy")
    tensor.uniform("f32", { 200, 90 }, { seed = 2 }):save(folder .. "/b.npy")
    local result = command.run { "run", "scenes/matmul.lua", "--input", "A=@" .. folder .. "/a.npy", "--input",
      "B=@" .. folder .. "/b.npy", "--output", "C=@" .. folder .. "/c.npy" }
    assert.equal(0, result.status, result.out .. result.err)
    local want = tensor.load(folder .. "/a.npy"):matmul(tensor.load(folder .. "/b.npy"))
    assert.tensor_close(tensor.load(folder .. "/c.npy"), want, { rtol = 1e-4, atol = 1e-4 })
    command.remove(folder)
  end)
end)
