-- Puts an operation aside that its sink can never take. Nothing behind it leaves the stream before that, so a server that
-- is full of what waits must take it too.
--
-- KEYS[1]  the shard's letters
-- ARGV[1]  name of the letter     ARGV[2]  the letter
-- @include needs-no-room

needs_no_room(KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
