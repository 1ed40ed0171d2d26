-- Count a failed attempt of the entry at the head of a partition.
--
-- KEYS  1 lease, 2 head
-- ARGV  1 owner, 2 fencing number, 3 entry id
-- Returns  how often it has failed now, or the error FENCED when the lease is lost
-- Atomic because the count belongs to one entry: another head starts from nothing.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
if redis.call('HGET', KEYS[2], 'entry') ~= ARGV[3] then redis.call('HSET', KEYS[2], 'entry', ARGV[3], 'attempts', 0) end
return redis.call('HINCRBY', KEYS[2], 'attempts', 1)
