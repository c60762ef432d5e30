-- A server that is full refuses the first write of a script when it may take memory, and none after that. What makes room
-- again must not be refused for want of it, so it begins with a write that takes none: nothing here has a life to lose.
local function needs_no_room(key) redis.call('PERSIST', key) end
