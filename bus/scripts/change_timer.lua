-- Put another timer in the place of one that is still there, at the same time.
--
-- KEYS  1 timers
-- ARGV  1 timer, 2 the other ("": none)
-- Returns  1, 0 when it was gone
-- Atomic because a timer that its partition's owner takes at this moment must not come back.
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('ZADD', KEYS[1], due, ARGV[2]) end
return 1
