-- layers: every #include under src/ respects the order of the layers. Usage: lua5.4 tools/layers.lua [ROOT]
-- A layer includes baton/*.h, its own headers and those of the layers that it needs; lua.h stays in bind/ and host/;
-- the backends of one layer (its sub-folders) never include each other. Sub-folders that are parts of their layer stand
-- in a table of their own: everything but an earlier part may include them.
local root = arg and arg[1] or "."

local needs = {
  base = {},
  task = { "base" },
  tensor = { "base" },
  device = { "base" },
  chip = { "base", "device", "task", "tensor" },
  node = { "base", "chip", "device", "task", "tensor" },
  bind = { "base", "chip", "device", "node", "task", "tensor" },
  host = { "base", "bind", "chip", "node" },
}
-- The parts of a layer, and the parts that they need.
local parts = { chip = { program = {}, executor = { program = true } } }
local knows_lua = { bind = true, host = true }
local lua_headers = { ["lua.h"] = true, ["lauxlib.h"] = true, ["lualib.h"] = true, ["luaconf.h"] = true }

local function may_include(layer, other)
  if layer == other then return true end
  for _, name in ipairs(needs[layer]) do
    if name == other then return true end
  end
  return false
end

-- What is wrong with an include of `header` in `path` (src/LAYER[/BACKEND]/FILE), or nil.
local function mistake(path, header, system)
  local layer, rest = path:match "^src/([^/]+)/(.+)$"
  if not needs[layer] then return ("layer '%s' is not in the table of tools/layers.lua"):format(layer) end
  if system then
    if lua_headers[header] and not knows_lua[layer] then return "Lua's headers belong to bind/ and host/" end
    return nil
  end
  local other, inner = header:match "^([^/]+)/(.+)$"
  if not needs[other] then return "write the path from src/: \"layer/header.h\"" end
  if not may_include(layer, other) then return ("layer '%s' does not need '%s'"):format(layer, other) end
  local backend, other_backend = rest:match "^([^/]+)/", inner:match "^([^/]+)/"
  if layer ~= other or not backend or not other_backend or backend == other_backend then return nil end
  local known = parts[layer] or {}
  if not known[other_backend] then return ("backend '%s' includes backend '%s'"):format(backend, other_backend) end
  if known[backend] and not known[backend][other_backend] then
    return ("part '%s' does not need part '%s'"):format(backend, other_backend)
  end
end

local function list_sources()
  local quoted = "'" .. root:gsub("'", "'\\''") .. "'"
  local pipe = assert(io.popen("cd " .. quoted .. " && find src -name '*.[ch]' | LC_ALL=C sort"))
  local paths = {}
  for path in pipe:lines() do paths[#paths + 1] = path end
  assert(pipe:close(), "the sources cannot be listed")
  return paths
end

local failures = 0
local function check_file(path)
  local number = 0
  for line in io.lines(root .. "/" .. path) do
    number = number + 1
    local mark, header = line:match '^%s*#%s*include%s*([<"])([^>"]+)[>"]'
    local why = header and mistake(path, header, mark == "<")
    if why then
      failures = failures + 1
      io.stderr:write(("%s:%d: %s: %s\n"):format(path, number, header, why))
    end
  end
end

local paths = list_sources()
for _, path in ipairs(paths) do check_file(path) end
if #paths == 0 then
  io.stderr:write("layers: no sources under ", root, "/src\n")
  os.exit(1)
end
print(("layers: %d files, %d mistakes"):format(#paths, failures))
os.exit(failures == 0)
