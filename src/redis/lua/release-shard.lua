-- Gives a shard back.
--
-- Guarantee: touches only the caller's own.
--
-- KEYS[1]  the shard's owner
-- ARGV[1]  the worker
--
-- Returns 1 released, 0 it was another's
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
