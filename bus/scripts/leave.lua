-- A person's last connection on a node has gone: the node need not be told any more, and this is when they were last
-- seen.
--
-- KEYS  1 routes, 2 meta
-- ARGV  1 node id
-- Returns  1 when there was such a route, else 0
-- Atomic because between the two the person would be neither here nor only just gone, and a step of a ladder that is
-- due then would not wait for somebody whose node restarts.
if redis.call('EXISTS', KEYS[2]) == 1 then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[2], 'last_seen', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
end
return redis.call('HDEL', KEYS[1], ARGV[1])
