-- Asks the worker of a shard to flush at once, whoever it is.
--
-- KEYS[1]  the shard's state     KEYS[2]  its stream
--
-- Returns the id of the last entry, or nil when there is none
-- @include needs-no-room

local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not last then return nil end
needs_no_room(KEYS[1])
redis.call('HINCRBY', KEYS[1], 'flushes', 1)
return last[1]
