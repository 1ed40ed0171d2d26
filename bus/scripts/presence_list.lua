-- Who is in a topic now.
--
-- KEYS  1 presence, 2 presence_expiry
-- ARGV  none
-- Returns  client id, info, client id, info, …
-- Atomic because the expired must go before the list is read.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)
if #gone > 0 then
  redis.call('HDEL', KEYS[1], unpack(gone))
  redis.call('ZREM', KEYS[2], unpack(gone))
end
return redis.call('HGETALL', KEYS[1])
