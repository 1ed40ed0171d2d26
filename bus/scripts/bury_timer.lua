-- Move a timer that cannot be worked to the dead letters with the reason.
--
-- KEYS  1 lease, 2 timers, 3 dead
-- ARGV  1 owner, 2 fencing number, 3 timer, 4 reason, 5 most dead letters kept
-- Returns  1, or 0 when there is no such timer; or the error FENCED when the lease is lost
-- Atomic because a crash between the two would lose the timer or bury it twice.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
if redis.call('ZREM', KEYS[2], ARGV[3]) == 0 then return 0 end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*',
  'queue', 'timers', 'entry', '', 'reason', ARGV[4], 'attempts', '1', 't', ARGV[3])
return 1
