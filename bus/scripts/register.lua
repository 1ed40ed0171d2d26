-- Keep a member on a list of the living, and read the list.
--
-- KEYS  1 the list (sorted set, score = expiry in ms by Redis's clock)
-- ARGV  1 ttl (ms); 2 member, absent to read only
-- Returns  the living members
-- Atomic because the expired must go before the list is read.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- First: a Redis that is full refuses the first write of a script, but not one that frees something.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if ARGV[2] then redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[2]) end
-- Noted by a clock that was ahead of this one: whoever lives will say so again.
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now + 600000, '+inf')) do
  redis.call('ZADD', KEYS[1], now + 60000, member)
end
return redis.call('ZRANGE', KEYS[1], 0, -1)
