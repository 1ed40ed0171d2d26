-- The next followers of a topic, for the walk under way; and note how far it has come.
--
-- KEYS  1 lease, 2 bulk_head, 3 members
-- ARGV  1 owner, 2 fencing number, 3 entry id of the walk, 4 "1" where 5 is the last follower that is done with, "0" to
--       go on where the walk was left, 5 that follower, 6 most wanted
-- Returns  their names in order, none when the walk is at its end; or the error FENCED when the lease is lost
-- Atomic because a paused owner must not turn its successor's walk back.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
local after = '-'
if ARGV[4] == '1' then
  redis.call('HSET', KEYS[2], 'walk', ARGV[3], 'last', ARGV[5])
  after = '(' .. ARGV[5]
else
  local left = redis.call('HMGET', KEYS[2], 'walk', 'last')
  if left[1] == ARGV[3] then after = '(' .. left[2] end
end
return redis.call('ZRANGEBYLEX', KEYS[3], after, '+', 'LIMIT', 0, ARGV[6])
