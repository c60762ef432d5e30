-- Puts an operation aside that its sink can never take. Nothing behind it leaves the stream before that, so a server that
-- is full of what waits must take it too.
--
-- Guarantee: only what the stream still has is put aside. Who was stopped until another worker was done with it, which may have
-- applied it, adds nothing.
--
-- KEYS[1]  the shard's letters     KEYS[2]  the stream
-- ARGV[1]  stream id of its entry     ARGV[2]  producer, ARGV[3] batch that stand there
-- ARGV[4]  name of the letter     ARGV[5]  the letter
--
-- Returns 1 put aside, 0 it is not in the stream any more
-- @include needs-no-room
-- @include read-entry

if not still_has(KEYS[2], ARGV[1], ARGV[2], ARGV[3]) then return 0 end
needs_no_room(KEYS[1])
redis.call('HSET', KEYS[1], ARGV[4], ARGV[5])
return 1
