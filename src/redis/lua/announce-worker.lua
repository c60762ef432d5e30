-- Says that a worker is alive, or leaves, and tells who else is.
--
-- KEYS[1]  the workers of a queue, by until when they count
-- ARGV[1]  the worker     ARGV[2]  for how long it counts, ms; 0 leaves
--
-- Returns the names of the workers
-- @include needs-no-room

local workers, worker, life_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

needs_no_room(workers)
if life_ms > 0 then redis.call('ZADD', workers, now + life_ms, worker) else redis.call('ZREM', workers, worker) end
redis.call('ZREMRANGEBYSCORE', workers, '-inf', now)
-- A clock that was set back must not keep the dead for hours: whoever lives announces itself again at once.
redis.call('ZREMRANGEBYSCORE', workers, now + 120000, '+inf')
return redis.call('ZRANGE', workers, 0, -1)
