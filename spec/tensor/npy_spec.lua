local tensor = require "baton.tensor"
local raises = require("baton.busted").raises

local path

local function write(bytes)
  local file <close> = assert(io.open(path, "wb"))
  file:write(bytes)
end

local function read()
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

-- A file of version 1.0 with this header text and these elements.
local function npy(header, elements) return "\x93NUMPY\1\0" .. string.pack("<s2", header) .. elements end

local function header(descr, shape, fortran)
  return ("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }"):format(descr, fortran and "True" or "False", shape)
end

local function load(bytes, key)
  write(bytes)
  return tensor.load(path, key)
end

-- The message of bad_file without the path in front.
local function refused(bytes, key)
  write(bytes)
  local ok, err = pcall(tensor.load, path, key)
  assert.is_false(ok)
  assert.equal("bad_file", err.code)
  assert.equal(path, err.path)
  assert.equal(path .. ": ", err.message:sub(1, #path + 2))
  return err.message:sub(#path + 3)
end

describe("a .npy file", function()
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  for _, dtype in ipairs { "f64", "f32", "f16", "bf16", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8" } do
    it("keeps a tensor of " .. dtype, function()
      local t = tensor.uniform(dtype, { 3, 5 }, { hi = 100, seed = 3 })
      t:save(path)
      local back = tensor.load(path)
      assert.equal(dtype, back.dtype)
      assert.is_true(back.shape == { 3, 5 })
      assert.is_true(back:allclose(t, { rtol = 0, atol = 0 }))
    end)
  end

  it("keeps bools, no dimensions, no elements and views", function()
    for _, t in ipairs { tensor.from { true, false }, tensor.from(3.5), tensor.zeros("f32", { 0, 3 }),
      tensor.arange("i32", { 3, 4 }):transpose(1, 2), tensor.arange("f64", { 5 }):slice(1, 2, 3) } do
      t:save(path)
      assert.same(t:totable(), tensor.load(path):totable())
      assert.is_true(tensor.load(path).shape == t.shape)
    end
  end)

  it("is written as numpy writes it", function()
    tensor.from({ { 1, 2, 3 } }, "f32"):save(path)
    local bytes = read()
    local text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }"
    assert.equal(npy(text .. (" "):rep(128 - 11 - #text) .. "\n", string.pack("<fff", 1, 2, 3)), bytes)
    tensor.from({ 1 }, "bf16"):save(path)
    assert.matches("'descr': '<V2', 'fortran_order': False, 'shape': %(1,%), }", read())
  end)

  it("is read in either byte order, in Fortran order and in versions 2 and 3", function()
    local text = header(">i2", "(2, 3)", true)
    assert.same({ { 1, 3, 5 }, { 2, 4, 6 } }, load(npy(text, string.pack(">i2i2i2i2i2i2", 1, 2, 3, 4, 5, 6))):totable())
    local cube = load(npy(header("<i1", "(2, 3, 2)", true), "\0\1\2\3\4\5\6\7\8\9\10\11"))
    assert.same({ { { 0, 6 }, { 2, 8 }, { 4, 10 } }, { { 1, 7 }, { 3, 9 }, { 5, 11 } } }, cube:totable())
    assert.same({ 2, 1 }, tensor.zeros("i8", { 3, 2 }).strides)
    for version = 2, 3 do
      local bytes = "\x93NUMPY" .. string.char(version, 0) .. string.pack("<s4", header("<f8", "(1,)")) ..
        string.pack("<d", 2.5)
      assert.same({ 2.5 }, load(bytes):totable())
    end
    assert.same({ 1.5 }, load(npy(header("|V2", "(1,)"), "\xc0\x3f")):totable())
    assert.same({ -2 }, load(npy(header(">V2", "(1,)"), "\xc0\x00")):totable())
    assert.same({ true, false }, load(npy(header("|b1", "(2,)"), "\7\0")):totable())
  end)

  it("may spell its header in any way that Python takes", function()
    assert.same({ { 7 } }, load(npy('{"shape":(1L , 1),"descr":"=u1","fortran_order":False}  \n', "\7")):totable())
    assert.same({ 7 }, load(npy(" {\n'shape': (1,), 'fortran_order': True,\t'descr': '|u1'}", "\7")):totable())
  end)

  it("that is truncated is refused with the place", function()
    assert.equal("offset 0: 10 bytes of prefix, but the file ends after 0", refused "")
    assert.equal("offset 0: 10 bytes of prefix, but the file ends after 6", refused "\x93NUMPY")
    assert.equal("offset 8: 4 bytes of header length, but the file ends after 2", refused "\x93NUMPY\2\0\1\0")
    assert.equal("offset 10: 100 bytes of header, but the file ends after 3", refused "\x93NUMPY\1\0\100\0{'d")
    assert.equal("offset 67: 12 bytes of elements, but the file ends after 11",
      refused(npy(header("<f4", "(3,)"), ("x"):rep(11))))
  end)

  it("that is something else is refused", function()
    assert.equal("offset 0: is no .npy file, it does not begin with \\x93NUMPY", refused "hello, world")
    assert.equal("offset 6: version 4.0, but 1.0, 2.0 and 3.0 are known", refused "\x93NUMPY\4\0\1\0\0\0")
    assert.equal("offset 6: version 1.1, but 1.0, 2.0 and 3.0 are known", refused "\x93NUMPY\1\1\1\0\0\0")
    assert.equal("offset 8: a header of 4294967295 bytes, but 65536 are the limit",
      refused "\x93NUMPY\2\0\xff\xff\xff\xff{")
  end)

  it("with a malformed header is refused with field or offset", function()
    local cases = {
      { "", "offset 10: header: '{' expected" },
      { "{'descr': '<f4'", "offset 25: header: ',' or '}' expected" },
      { "{'descr': '<f4", "offset 20: header: the end of a string expected" },
      { "{'descr': '<f4', 'shape': (1,), }", "field 'fortran_order' is missing" },
      { "{'descr': '<f4', 'descr': '<f4', }", "field 'descr' appears twice" },
      { "{'descr': '<f4', 'colour': 1, }", "field 'colour' is unknown" },
      { "{'fortran_order': Maybe, }", "offset 28: header: True or False expected" },
      { header("|O", "(1,)"), "field 'descr': objects ('|O') cannot be read" },
      { header("<c8", "(1,)"), "field 'descr': '<c8' has no counterpart" },
      { header("<f", "(1,)"), "field 'descr': '<f' has no counterpart" },
      { "{'descr': [('a', '<f4')], }", "field 'descr': a record type cannot be read" },
      { header("<f4", "(-1,)"), "offset 61: header: a size expected" },
      { header("<f4", "(1 2)"), "offset 63: header: ',' or ')' expected" },
      { header("<f4", "3"), "offset 60: header: '(' expected" },
      { header("<f4", "(1,)") .. "x", "offset 67: header: the end of the header expected" },
      { header("<f4", "(99999999999999999999,)"), "field 'shape': a size is beyond 2^63" },
      { header("<f4", "(4294967296, 4294967296)"), "field 'shape': the product of the sizes is beyond 2^62 bytes" },
      { header("<f4", "(4294967296, 4294967296, 0)"),
        "field 'shape': the product of the sizes is beyond 2^62 bytes" },
      { header("<f4", "(1,1,1,1,1,1,1,1,1)"), "field 'shape': more than 8 dimensions" },
    }
    for _, case in ipairs(cases) do assert.equal(case[2], refused(npy(case[1], "abcd"))) end
  end)

  it("with bytes after the elements is refused", function()
    assert.equal("offset 71: 1 bytes after the last element", refused(npy(header("<f4", "(1,)"), "abcde")))
    assert.equal("offset 67: 4 bytes after the last element", refused(npy(header("<f4", "(0,)"), "abcd")))
  end)

  it("cut off anywhere or changed anywhere never does harm", function()
    tensor.arange("i16", { 4, 5 }):save(path)
    local whole = read()
    for size = 0, #whole - 1 do
      write(whole:sub(1, size))
      raises("bad_file", tensor.load, path)
    end
    local random = 12345
    for _ = 1, 2000 do
      random = random * 6364136223846793005 + 1442695040888963407
      local at, value = (random >> 33) % #whole + 1, (random >> 56) & 255
      write(whole:sub(1, at - 1) .. string.char(value) .. whole:sub(at + 1))
      local ok, err = pcall(tensor.load, path)
      assert.is_true(ok or err.code == "bad_file", tostring(err))
    end
  end)
end)

describe("loading and saving", function()
  it("says why a path cannot be opened", function()
    assert.equal("/proc/nonexistent/a.npy: cannot open: No such file or directory",
      raises("io_error", tensor.load, "/proc/nonexistent/a.npy"))
    assert.equal("/: cannot read: Is a directory", raises("io_error", tensor.load, "/"))
    assert.equal("/dev/zero: is not a regular file", raises("io_error", tensor.load, "/dev/zero"))
    assert.equal("tensor.load: path must be a string, got nil", raises("invalid_argument", tensor.load))
  end)

  it("says why a file cannot be written, and leaves what was there", function()
    local t = tensor.zeros("f32", { 10 })
    assert.equal("/dev/full: cannot write: No space left on device", raises("io_error", t.save, t, "/dev/full"))
    assert.equal("/proc/nonexistent/a.npy: cannot create: No such file or directory",
      raises("io_error", t.save, t, "/proc/nonexistent/a.npy"))
    assert.equal("/tmp: cannot write: Is a directory", raises("io_error", t.save, t, "/tmp"))
    local device <close> = assert(io.open("/dev/full", "wb"))
    assert.is_nil(device:write("x") and device:flush())
  end)

  it("replaces a file whole and leaves no other behind", function()
    local directory = os.tmpname()
    os.remove(directory)
    assert(os.execute("mkdir " .. directory))
    path = directory .. "/a.npy"
    tensor.zeros("f32", { 1000 }):save(path)
    tensor.from({ 1, 2 }):save(path)
    assert.same({ 1, 2 }, tensor.load(path):totable())
    local listing <close> = assert(io.popen("ls -A " .. directory))
    assert.equal("a.npy\n", listing:read "a")
    os.execute("rm -r " .. directory)
  end)
end)

-- One member of an archive as numpy's savez writes it, and its entry in the directory.
local function archive(members)
  local body, directory = "", ""
  for _, member in ipairs(members) do
    local name = member.name .. ".npy"
    local common = string.pack("<I2I2I2I2I2I4I4I4I2", 20, 0, member.method or 0, 0, 0, member.checksum,
      #member.bytes, member.size or #member.bytes, #name)
    directory = directory .. "PK\1\2" .. string.pack("<I2", 20) .. common ..
      string.pack("<I2I2I2I2I4I4", 0, 0, 0, 0, 0, #body) .. name
    body = body .. "PK\3\4" .. common .. string.pack("<I2", 0) .. name .. member.bytes
  end
  return body .. directory .. "PK\5\6" .. string.pack("<I2I2I2I2I4I4I2", 0, 0, #members, #members, #directory, #body, 0)
end

local function crc32(bytes)
  local crc = 0xffffffff
  for i = 1, #bytes do
    crc = crc ~ bytes:byte(i)
    for _ = 1, 8 do crc = (crc >> 1) ~ (0xedb88320 & -(crc & 1)) end
  end
  return crc ~ 0xffffffff
end

describe("an .npz archive", function()
  local a, b
  before_each(function()
    path = os.tmpname()
    local first, second = npy(header("<i2", "(2,)"), "\1\0\2\0"), npy(header("|u1", "(3,)"), "\7\8\9")
    -- deflated without compression: one block, its length and its complement
    local packed = "\1" .. string.pack("<I2I2", #second, ~#second & 0xffff) .. second
    a = { name = "a", bytes = first, checksum = crc32(first) }
    b = { name = "b", bytes = packed, method = 8, size = #second, checksum = crc32(second) }
  end)
  after_each(function() os.remove(path) end)

  it("gives each of its arrays, stored or deflated", function()
    local bytes = archive { a, b }
    assert.same({ 1, 2 }, load(bytes, "a"):totable())
    assert.same({ 7, 8, 9 }, load(bytes, "b"):totable())
    assert.same({ 1, 2 }, load(archive { a }):totable())
  end)

  it("says which arrays there are", function()
    local bytes = archive { a, b }
    assert.equal("has no array 'c', only: a, b", refused(bytes, "c"))
    assert.equal("has 2 arrays, one must be named: a, b", refused(bytes))
    assert.equal("is no .npz archive, so there is no array 'a' in it", refused(npy(header("|u1", "(1,)"), "x"), "a"))
  end)

  it("that is damaged is refused", function()
    a.checksum = a.checksum ~ 1
    assert.equal("the checksum of array 'a' is wrong", refused(archive { a, b }, "a"))
    b.method = 12
    assert.equal("compression method 12 is unknown", refused(archive { a, b }, "b"))
    b.method, b.bytes = 8, "\7" .. b.bytes:sub(2)
    assert.equal("compressed data is damaged", refused(archive { a, b }, "b"))
    assert.equal("is an archive without its end", refused(archive({ a, b }):sub(1, -30), "b"))
  end)

  it("cut off anywhere or changed anywhere never does harm", function()
    local whole = archive { a, b }
    for size = 0, #whole - 1 do refused(whole:sub(1, size), "b") end
    local random = 54321
    for _ = 1, 2000 do
      random = random * 6364136223846793005 + 1442695040888963407
      local at, value = (random >> 33) % #whole + 1, (random >> 56) & 255
      write(whole:sub(1, at - 1) .. string.char(value) .. whole:sub(at + 1))
      local ok, err = pcall(tensor.load, path, "b")
      assert.is_true(ok or err.code == "bad_file", tostring(err))
    end
  end)
end)
