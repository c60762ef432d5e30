-- Where a stream begins, without what stands there.
--
-- KEYS[1]  the stream
--
-- Returns the id of the first entry, or nil when there is none
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return first and first[1]
