-- Keep an event until it is due, unless it was withdrawn.
--
-- KEYS  1 timers, 2 withdrawn, 3 body
-- ARGV  1 when it is due (Unix ms), 2 timer (member of `timers`), 3 id of the entry it came in, 4 when its time is
--       over (Unix ms), 5 ttl of the note of it (ms)
-- Returns  1, or 0 when it was withdrawn and is not kept
-- Atomic because a withdrawal either finds the timer or is found here.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[3], 'at', ARGV[1], 'first', ARGV[3], 'x', ARGV[4])
if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[5]) then redis.call('PEXPIRE', KEYS[3], ARGV[5]) end
return 1
