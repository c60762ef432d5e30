-- Settles the number of shards of a queue: who asks first decides.
--
-- KEYS[1]  where the number is kept
-- ARGV[1]  the number that the caller has
--
-- Returns the number that counts
local known = redis.call('GET', KEYS[1])
if known then return known end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
