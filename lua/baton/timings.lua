-- baton.timings: columns of times, in microseconds: their summaries and a table of them.
local timings = {}

local outliers = 10 -- at either end, which a trimmed mean leaves out

--- What a summary says, in the order of a table.
timings.summaries = { "first", "mean", "steady_mean", "median", "p99", "min", "max", "trimmed" }

local function mean(values, first, last)
  local sum = 0
  for i = first, last do sum = sum + values[i] end
  return sum / (last - first + 1)
end

--- The summary of a column: first, mean, mean of the second half, median, 99th percentile, min, max and, of more than 20
--- values, the mean without the 10 lowest and the 10 highest. Empty for an empty column.
function timings.summary(values)
  local count = #values
  if count == 0 then return {} end
  local sorted = table.move(values, 1, count, 1, {})
  table.sort(sorted)
  local middle = (count + 1) // 2
  return {
    first = values[1], mean = mean(values, 1, count), steady_mean = mean(values, count // 2 + 1, count),
    median = count % 2 == 1 and sorted[middle] or (sorted[middle] + sorted[middle + 1]) / 2,
    p99 = sorted[math.ceil(count * 0.99)], min = sorted[1], max = sorted[count],
    trimmed = count > 2 * outliers and mean(sorted, outliers + 1, count - outliers) or nil,
  }
end

local function add_row(lines, widths, label, values)
  local cells = { label .. (" "):rep(#"steady_mean" - #label) }
  for i, width in ipairs(widths) do
    local text = type(values[i]) == "number" and ("%.2f"):format(values[i]) or values[i] or "-"
    cells[#cells + 1] = (" "):rep(math.max(width - #text, 0)) .. text
  end
  lines[#lines + 1] = table.concat(cells, "  ")
end

--- A table of columns, each { title =, values = }: a row for each of the `count` rounds, then the summaries.
function timings.table(columns, count)
  local lines, widths, titles, summaries = {}, {}, {}, {}
  for i, column in ipairs(columns) do
    titles[i] = column.title .. " (us)"
    summaries[i] = timings.summary(column.values)
    widths[i] = math.max(#titles[i], 12)
  end
  add_row(lines, widths, "Round", titles)
  for round = 1, count do
    local row = {}
    for i, column in ipairs(columns) do row[i] = column.values[round] end
    add_row(lines, widths, tostring(round), row)
  end
  for _, name in ipairs(timings.summaries) do
    local row = {}
    for i in ipairs(columns) do row[i] = summaries[i][name] end
    add_row(lines, widths, name, row)
  end
  return table.concat(lines, "\n") .. "\n"
end

return timings
