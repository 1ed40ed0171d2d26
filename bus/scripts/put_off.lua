-- Keep an event until it is due, unless it was withdrawn.
--
-- KEYS  1 timers, 2 withdrawn, 3 body
-- ARGV  1 when it is due (Unix ms), 2 timer (member of `timers`), 3 id of the entry it came in, 4 when its time is
--       over (Unix ms), 5 how long after that the note of it stays (ms)
-- Returns  1, or 0 when it was withdrawn and is not kept
-- Atomic because a withdrawal either finds the timer or is found here.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[3], 'at', ARGV[1], 'first', ARGV[3], 'x', ARGV[4])
local time = redis.call('TIME')
local stays = ARGV[4] + ARGV[5] - (time[1] * 1000 + math.floor(time[2] / 1000))
if redis.call('PTTL', KEYS[3]) < stays then redis.call('PEXPIRE', KEYS[3], string.format('%.0f', stays)) end
return 1
