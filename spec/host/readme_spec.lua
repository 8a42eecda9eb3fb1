local command = require "spec.support.command"

-- The shell blocks of the README's tour, in order.
local function tour()
  local text = command.read("README.md"):match "\n## A tour[^\n]*\n(.-)\n## "
  local blocks = {}
  for block in text:gmatch "\n```sh\n(.-\n)```" do blocks[#blocks + 1] = block end
  return blocks
end

describe("the README's tour", function()
  it("runs as it stands", function()
    local folder = command.folder()
    local blocks = tour()
    assert.is_true(#blocks >= 5)
    os.execute(("ln -s %s %s/baton && mkdir %s/build && ln -s $PWD/scenes %s/scenes"):format(
      command.quote(command.baton), folder, folder, folder))
    command.write(folder .. "/tour.sh", "set -eu\n" .. table.concat(blocks))
    local result = command.shell(("cd %s && sed -i 's,^PATH=.*,PATH=%s:$PATH,' tour.sh && bash tour.sh"):format(folder, folder))
    command.remove(folder)
    assert.equal(0, result.status, result.out .. result.err)
    assert.truthy(result.out:find("f32[5] [100, 102, 104, 106, 108]", 1, true), result.out)
  end)
end)
