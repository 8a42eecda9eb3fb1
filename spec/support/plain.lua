-- For plain lua5.4, which has Baton as a module: what specs need of the program `baton`, then busted on the files that are the
-- arguments. The environment cannot be changed from there, so BATON_TEST_GATE names a link, which changes instead.
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
