local json = require "baton.json"
local baton_error = require "baton.error"

local function message(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.is_true(baton_error.is(err))
  return err.message
end

describe("baton.json", function()
  it("keeps integers, floats, booleans, null, lists and objects apart", function()
    local text = [[{"a":[1,2.0,true,null],"b":{},"c":[],"d":"ä\"\n","e":-9223372036854775808,"f":0.1}]]
    local value = json.decode(text)
    assert.equal("integer", math.type(value.a[1]))
    assert.equal("float", math.type(value.a[2]))
    assert.equal(json.null, value.a[4])
    assert.equal(math.mininteger, value.e)
    assert.equal(text, json.encode(value))
  end)

  it("writes floats so that they are read back the same", function()
    for _, value in ipairs { 0.1, 1 / 3, 1e300, 5e-324, 123456.789 } do
      assert.equal(value, json.decode(json.encode { value })[1])
    end
    assert.equal("[0.1]", json.encode { 0.1 })
  end)

  it("marks an empty list", function()
    assert.equal("[]", json.encode(json.array()))
    assert.equal("{}", json.encode {})
  end)

  it("says where a text is wrong", function()
    assert.equal("json.decode: line 2, column 7: invalid token near 'x'", message(json.decode, "{\n \"a\": x}"))
    assert.truthy(message(json.decode, ""):find("json.decode: line 1", 1, true))
    assert.truthy(message(json.decode, [[{"a":1,"a":2}]]):find("duplicate object key", 1, true))
  end)

  it("refuses what JSON cannot hold", function()
    assert.equal("json.encode: inf has no form in JSON", message(json.encode, math.huge))
    assert.equal("json.encode: a string of 1 bytes is not UTF-8", message(json.encode, "\xff"))
    assert.equal("json.encode: a key of an object is true, not a string", message(json.encode, { [true] = 1 }))
    assert.equal("json.encode: a function has no form in JSON", message(json.encode, { print }))
    local loop = {}
    loop.loop = loop
    assert.equal("json.encode: tables are nested deeper than 200", message(json.encode, loop))
  end)
end)
