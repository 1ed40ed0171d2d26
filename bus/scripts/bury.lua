-- Move an entry of a partition to the dead letters with the reason, and acknowledge it.
--
-- KEYS  1 lease, 2 stream, 3 head, 4 dead
-- ARGV  1 owner, 2 fencing number, 3 group, 4 entry id, 5 reason, 6 attempts, 7 most dead letters kept,
--       then the entry's own field, value, …
-- Returns  id of the dead letter, or the error FENCED when the lease is lost
-- Atomic because a crash between the two would lose the entry or bury it twice.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
-- The queue goes by what its key says after the hash tag: events, bulk …
local queue = string.match(KEYS[2], '}:(.*)$')
local id = redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[7], '*',
  'queue', queue, 'entry', ARGV[4], 'reason', ARGV[5], 'attempts', ARGV[6], unpack(ARGV, 8))
redis.call('XACK', KEYS[2], ARGV[3], ARGV[4])
redis.call('HSET', KEYS[3], 'acked', ARGV[4])
redis.call('HDEL', KEYS[3], 'entry', 'attempts')
return id
