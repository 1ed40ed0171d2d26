-- Note that all that is acknowledged was given to partitions as they are in these generations.
--
-- KEYS  1 lease, 2 head
-- ARGV  1 owner, 2 fencing number, 3 generations: their names in the order of the partitions, with spaces between ("-"
--       not known)
-- Returns  1, or the error FENCED when the lease is lost
-- Atomic because an owner that was paused must not claim what its successor has not done.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
redis.call('HSET', KEYS[2], 'given', ARGV[3])
return 1
