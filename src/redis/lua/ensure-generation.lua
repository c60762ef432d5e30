-- The counter of a generation as it stands, made if there is none.
--
-- Guarantee: a counter that was lost never comes back with a value it had before, so what was stored under it stays
-- outdated: it begins at this server's time, or at a value that the caller knows to be good.
--
-- KEYS[1]  the counter
-- ARGV[1]  its value if it has to be made, or '' for the server's time in µs
-- ARGV[2]  how long it is kept at least, ms; 0 for ever
--
-- Returns the counter
-- @include generation

local key, first, life_ms = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local counter = read_counter(key)
if counter == nil then
  local value = string.format('%.0f', first or now_us())
  local text = value .. ':' .. value
  -- A full server refuses SET to a script that has written nothing yet; and it may be a key of another type.
  redis.call('DEL', key)
  if life_ms > 0 then redis.call('SET', key, text, 'PX', ARGV[2]) else redis.call('SET', key, text) end
  return text
end
if drop_lost_writers(counter) then return write_counter(key, counter, life_ms) end
local left = redis.call('PTTL', key)
if left ~= -1 and left < life_ms then redis.call('PEXPIRE', key, ARGV[2]) end
return redis.call('GET', key)
