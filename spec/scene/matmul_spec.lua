require "baton.busted" -- assert.tensor_close
local command = require "spec.support.command"
local tensor = require "baton.tensor"

describe("scenes/matmul.lua on the user's own files", function()
  local folder
  setup(function()
    folder = command.folder()
    local function save(name, dtype, shape) tensor.uniform(dtype, shape, { seed = #name }):save(folder .. "/" .. name) end
    save("a.npy", "f64", { 70, 200 })
    save("b.npy", "f64", { 200, 90 })
    save("b32.npy", "f32", { 200, 90 })
    save("line.npy", "f64", { 200 })
    save("cube.npy", "f64", { 2, 3, 4 })
    tensor.arange("i64", { 200, 2 }):save(folder .. "/integers.npy")
  end)
  teardown(function() command.remove(folder) end)

  local function run(a, b, ...)
    return command.run { "run", "scenes/matmul.lua", "--input", "A=@" .. folder .. "/" .. a, "--input",
      "B=@" .. folder .. "/" .. b, ... }
  end

  it("keeps f64, NumPy's default, to its full precision", function()
    local result = run("a.npy", "b.npy", "--output", "C=@" .. folder .. "/c.npy", "--rtol", "1e-13", "--atol", "1e-13")
    assert.equal(0, result.status, result.out .. result.err)
    local c = tensor.load(folder .. "/c.npy")
    assert.equal("f64", c.dtype)
    local want = tensor.load(folder .. "/a.npy"):matmul(tensor.load(folder .. "/b.npy"))
    assert.tensor_close(c, want, { rtol = 1e-13, atol = 1e-13 })
  end)

  it("makes what was not given in the type of what was", function()
    assert.equal(0, command.run({ "run", "scenes/matmul.lua", "--input", "B=@" .. folder .. "/b.npy" }).status)
  end)

  local function refused(expected, a, b)
    local result = run(a, b)
    local label = "^matmul  a2a3sim  host_build_graph  small with A, B  0 rounds  FAIL  invalid_argument: scene matmul: args: "
    assert.equal(expected, result.out:match "[^\n]*":gsub(label, ""))
    assert.equal(2, result.status)
  end

  it("says what does not fit", function()
    refused("A is f64[70,200] and B is f32[200,90]: both must have elements of one type", "a.npy", "b32.npy")
    refused("A is f64[70,200] and B is f64[70,200]: A has 200 columns, B 70 rows", "a.npy", "a.npy")
  end)

  it("says what is no matrix", function()
    refused("B is f64[200]: a matrix of 2 dimensions expected, it has 1", "a.npy", "line.npy")
    refused("A is f64[2,3,4]: a matrix of 2 dimensions expected, it has 3", "cube.npy", "b.npy")
    refused("B is i64[200,2]: elements of type f32 or f64 expected", "a.npy", "integers.npy")
  end)
end)
