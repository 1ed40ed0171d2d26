-- Put a dead letter of the timers back among them, to be due at once.
--
-- KEYS  1 dead, 2 timers
-- ARGV  1 id of the dead letter
-- Returns  when it is due (ms), or nil when there is no such dead letter
-- Atomic because a crash between the two would lose the timer.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then return false end
if #found[2] <= 8 then return redis.error_reply('EMPTY nothing was kept of that timer') end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('ZADD', KEYS[2], now, found[2][10])
redis.call('XDEL', KEYS[1], ARGV[1])
return now
