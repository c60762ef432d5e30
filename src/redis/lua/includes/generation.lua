-- A generation counter, as tiers/generation.ts reads it: "<hard>:<soft>", both in µs of this server's clock when they were
-- last moved, and ":<token>@<until ms>" for each writer that is at work under it.

-- Twice as long as any guard: who is to be waited for longer died before the clock was set back, or will be heard of again.
local WAIT_MOST_MS = 120000

local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Nil when there is none, or what stands there is not one.
local function read_counter(key)
  local text = redis.pcall('GET', key)
  if type(text) ~= 'string' then return nil end
  local hard, soft, rest = text:match('^(%d+):(%d+)(.*)$')
  if hard == nil then return nil end
  local counter = { hard = tonumber(hard), soft = tonumber(soft), writers = {} }
  for token, until_ms in rest:gmatch(':(%x+)@(%d+)') do
    table.insert(counter.writers, { token = token, until_ms = tonumber(until_ms) })
  end
  return counter
end

local function write_counter(key, counter, life_ms)
  local parts = { string.format('%.0f:%.0f', counter.hard, counter.soft) }
  for _, writer in ipairs(counter.writers) do
    table.insert(parts, string.format('%s@%.0f', writer.token, writer.until_ms))
  end
  local text = table.concat(parts, ':')
  local left = redis.call('PTTL', key)
  -- A full server refuses SET to a script that has written nothing yet, and clearing must pass where a DEL does.
  redis.call('DEL', key)
  redis.call('SET', key, text)
  if left > life_ms then life_ms = left end
  if left ~= -1 and life_ms > 0 then redis.call('PEXPIRE', key, string.format('%.0f', life_ms)) end
  return text
end

-- Everything that was loaded before is outdated from here on.
local function move_hard(counter, least)
  counter.hard = math.max(counter.hard + 1, counter.soft + 1, least)
  counter.soft = counter.hard
end

-- A writer that is not heard of any more may have written at any time until now.
local function drop_lost_writers(counter)
  local now = math.floor(now_us() / 1000)
  local left = {}
  for _, writer in ipairs(counter.writers) do
    local left_ms = writer.until_ms - now
    if left_ms > 0 and left_ms <= WAIT_MOST_MS then table.insert(left, writer) end
  end
  local lost = #left < #counter.writers
  counter.writers = left
  if lost then move_hard(counter, now_us()) end
  return lost
end
