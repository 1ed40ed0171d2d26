-- A user has a push target no more.
--
-- KEYS  1 index
-- ARGV  1 user, 2 "1": only where another has it by now
-- Returns  1, 0 when nothing was done
-- Atomic because the user might register it again between the look and the deletion.
local has = redis.call('HGET', KEYS[1], '') == ARGV[1]
if has and ARGV[2] == '1' then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
if has then redis.call('HDEL', KEYS[1], '') end
return 1
