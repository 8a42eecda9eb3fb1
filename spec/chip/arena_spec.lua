local baton = require "baton"
local glue = require "baton.busted"
local raises = glue.raises

local regions = { "heap", "shared", "image" }

glue.each_platform(function(platform)
  describe("an arena", function()
    it("is committed when the worker opens", function()
      local chip <close> = baton.worker { platform = platform, arena = { heap = "1MiB", shared = 65536, image = "4KiB" } }
      local stats = chip:stats()
      assert.equal(1, stats.arenas_committed)
      assert.equal(3, stats.allocations)
      assert.equal((1 << 20) + 65536 + 4096, stats.committed_bytes)
      assert.is_false(chip:setup_arena { heap = "1MiB", shared = 65536, image = "4KiB" })
      assert.is_false(chip:setup_arena { heap = 1 })
      assert.is_false(chip:setup_arena {})
      assert.equal(3, chip:stats().allocations)
    end)

    it("grows, and keeps what is larger", function()
      local chip <close> = baton.worker { platform = platform }
      assert.is_true(chip:setup_arena { heap = 1000, shared = 2000 })
      assert.equal(3000, chip:stats().committed_bytes)
      assert.is_true(chip:setup_arena { heap = 1, shared = 3000, image = 500 })
      assert.equal(4500, chip:stats().committed_bytes)
      assert.is_false(chip:setup_arena { heap = 1000, shared = 3000, image = 500 })
      assert.equal(2, chip:stats().arenas_committed)
    end)

    it("that does not fit leaves nothing, and a smaller one may follow", function()
      local chip <close> = baton.worker { platform = platform }
      for _, region in ipairs(regions) do
        assert.is_true(chip:setup_arena { heap = 4096, shared = 4096, image = 4096 })
        assert.matches("^arena: region " .. region .. " of 1099511627776 bytes: no room for",
          raises("out_of_memory", chip.setup_arena, chip, { [region] = "1TiB" }))
        assert.equal(0, chip:stats().committed_bytes)
      end
      assert.is_true(chip:setup_arena { heap = 4096 })
      assert.equal(4096, chip:stats().committed_bytes)
    end)

    it("refuses sizes that make no sense", function()
      local chip <close> = baton.worker { platform = platform }
      assert.equal("field 'heap' must be a size in bytes such as 65536 or \"64KiB\", got -1MiB",
        raises("invalid_argument", chip.setup_arena, chip, { heap = "-1MiB" }))
      assert.equal("field 'shared' must be a size in bytes such as 65536 or \"64KiB\", got 1.5",
        raises("invalid_argument", chip.setup_arena, chip, { shared = 1.5 }))
      assert.equal("arena: unknown option 'heep', did you mean 'heap'?",
        raises("unknown_option", baton.worker, { arena = { heep = 1 } }))
    end)

    it("that fails when the worker opens leaves no worker", function()
      for nth = 1, 3 do
        assert.equal(("arena: region %s of 4096 bytes: injected fault: call %d of alloc fails"):format(regions[nth], nth),
          raises("out_of_memory", baton.worker, { platform = platform, fault = { call = "alloc", nth = nth },
            arena = { heap = 4096, shared = 4096, image = 4096 } }))
      end
    end)

    it("survives a fault at each region, at first and on growth, a hundred times", function()
      for _ = 1, 100 do
        for nth = 1, 6 do
          local chip = baton.worker { platform = platform, fault = { call = "alloc", nth = nth } }
          local first = { heap = 4096, shared = 2048, image = 1024 }
          local region = regions[(nth - 1) % 3 + 1]
          if nth <= 3 then
            assert.matches("^arena: region " .. region, raises("out_of_memory", chip.setup_arena, chip, first))
          else
            assert.is_true(chip:setup_arena(first))
            assert.matches("^arena: region " .. region,
              raises("out_of_memory", chip.setup_arena, chip, { image = 8192 }))
          end
          assert.equal(0, chip:stats().committed_bytes)
          assert.is_true(chip:setup_arena(first))
          chip:close()
          local stats = chip:stats()
          assert.equal(stats.allocations, stats.frees)
          assert.equal(0, stats.committed_bytes)
        end
      end
    end)
  end)
end)
