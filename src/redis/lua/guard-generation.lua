-- A writer is about to change, or has changed, what is stored under a generation.
--
-- Guarantee: from the guard on everything loaded before is outdated, and until all writers are done, or are not heard
-- of any more, nothing is stored under the generation. What was loaded meanwhile is outdated after that.
--
-- KEYS[1]  the counter
-- ARGV[1]  token of the writer, in hexadecimal
-- ARGV[2]  life of its guard from now, ms; 0 takes it away
-- ARGV[3]  '1': only if the guard still stands. Else ''
-- ARGV[4]  the counter's new value at least, or '' for the server's time in µs
-- ARGV[5]  how long the counter is kept at least, ms; 0 for ever
--
-- Returns the counter, or 0 when the guard was to stand and does not
-- @include generation

local key, token, guard_ms, renewal = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local least, life_ms = tonumber(ARGV[4]) or now_us(), tonumber(ARGV[5])
local counter = read_counter(key)
if counter == nil then
  if renewal then return 0 end
  redis.call('DEL', key)
  counter = { hard = least, soft = least, writers = {} }
end
drop_lost_writers(counter)

local mine = nil
for index, writer in ipairs(counter.writers) do
  if writer.token == token then mine = index end
end
if renewal and mine == nil then return 0 end
if mine ~= nil then table.remove(counter.writers, mine) end
if guard_ms > 0 then
  local until_ms = math.floor(now_us() / 1000) + guard_ms
  table.insert(counter.writers, { token = token, until_ms = until_ms })
end
if not renewal then move_hard(counter, least) end
return write_counter(key, counter, life_ms)
