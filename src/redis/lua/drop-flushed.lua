-- Invalidates an entry that is written behind: like UNLINK, but what the source does not have yet stays until it has.
--
-- Guarantee: every lease and guard on the entry is void. An unflushed value is nothing that a load could bring.
--
-- KEYS[1]  the entry
--
-- Returns 1 dropped, or to be dropped; 0 there was nothing to drop
-- @include entry-header
-- @include needs-no-room

local header = read_header(KEYS[1])
if header ~= nil and not is_foreign(header) and is_unflushed(header) then
  needs_no_room(KEYS[1])
  doom(KEYS[1], header)
  return 1
end
return redis.call('UNLINK', KEYS[1])
