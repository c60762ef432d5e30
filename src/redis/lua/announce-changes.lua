-- Tells the processes that cannot have changes told by Redis itself.
--
-- Guarantee: each message has the number after that of the one before, and a number is never used again, so that who
-- has heard of n messages and finds the counter at n has missed nothing. When the counter was lost it begins at this
-- server's time, which reads as a gap to everybody; when the server is full and cannot count, the number is 0.
-- What was counted and may not be published is such a gap as well: whoever listens drops everything within two heartbeats.
--
-- KEYS[1]  the counter
-- ARGV[1]  the channel
-- ARGV[2]  the keys that changed, one a line; may be ''
--
-- Returns the number of the message; {the number, the refusal} when this user may not publish it

local key, channel, changed = KEYS[1], ARGV[1], ARGV[2]
local sequence = redis.pcall('INCR', key)
if sequence == 1 then
  local time = redis.call('TIME')
  sequence = time[1] * 1000000 + time[2]
  local set = redis.pcall('SET', key, string.format('%.0f', sequence))
  if type(set) == 'table' and set.err then sequence = 0 end
elseif type(sequence) ~= 'number' then
  sequence = 0
end
local number = string.format('%.0f', sequence)
local told = redis.pcall('PUBLISH', channel, number .. '\n' .. changed)
if type(told) ~= 'table' or not told.err then return number end
-- Neither told nor counted: nobody would ever notice.
if sequence == 0 then return told end
return { number, told.err }
