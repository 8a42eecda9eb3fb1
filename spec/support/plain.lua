-- For a Lua that is not the program `baton`: lua5.4, which has Baton as a module, or a C program that links it. What specs need of
-- `baton`, then busted on the files that are the arguments. Lua cannot change the environment there, so BATON_TEST_GATE names a
-- link, which changes instead.
package.preload["baton.host"] = function()
  return {
    executable = function() return os.getenv "BATON_PROGRAM" end,
    setenv = function(name, value)
      if name == "BATON_TEST_GATE" then assert(os.execute(("ln -sfn '%s' '%s'"):format(value, os.getenv(name)))) end
    end,
  }
end

package.preload["baton.test"] = function() return {} end

rawset(arg, 0, "busted")
assert(load([[require "busted.runner" { standalone = false }]], "@busted"))()
