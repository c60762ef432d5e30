-- Takes letters away whose operations are tried again.
--
-- Guarantee: only while the stream still has the first of what was read with them. A call that comes late takes away nothing that
-- another worker has put aside for good.
--
-- KEYS[1]  the shard's letters     KEYS[2]  the stream
-- ARGV[1]  stream id of the first entry     ARGV[2]  producer, ARGV[3] batch that stand there
-- ARGV[4…] names of the letters
--
-- Returns 1 they are gone, 0 the stream does not have the entry any more
-- @include read-entry

if not still_has(KEYS[2], ARGV[1], ARGV[2], ARGV[3]) then return 0 end
for index = 4, #ARGV do redis.call('HDEL', KEYS[1], ARGV[index]) end
return 1
