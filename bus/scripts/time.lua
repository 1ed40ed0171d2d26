-- What time it is.
--
-- KEYS  1 any key of the server that is asked
-- ARGV  none
-- Returns  Unix time in milliseconds, by the server's clock
-- Atomic because nothing: it only looks at the clock. A script, for a cluster finds servers by their keys.
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)
