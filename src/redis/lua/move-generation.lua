-- Declares everything outdated, or stale, that was loaded under the generation before.
--
-- Guarantee: the counter only ever grows while it stands, whatever the server's clock does.
--
-- KEYS[1]  the counter
-- ARGV[1]  'hard': outdated; 'soft': stale; 'raise': only up to ARGV[2]
-- ARGV[2]  its new value at least, or '' for the server's time in µs
-- ARGV[3]  how long it is kept at least, ms; 0 for ever
--
-- Returns the counter
-- @include generation

local key, how, life_ms = KEYS[1], ARGV[1], tonumber(ARGV[3])
local least = tonumber(ARGV[2]) or now_us()
local counter = read_counter(key)
if counter == nil then
  redis.call('DEL', key)
  counter = { hard = least, soft = least, writers = {} }
elseif how == 'soft' then
  counter.soft = math.max(counter.soft + 1, least)
elseif how == 'hard' then
  move_hard(counter, least)
elseif counter.hard < least then
  move_hard(counter, least)
end
return write_counter(key, counter, life_ms)
