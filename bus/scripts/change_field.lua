-- Change one field of a hash, if it still is what it was.
--
-- KEYS  1 the hash
-- ARGV  1 field, 2 what it was ("": not there), 3 what it is to be ("": to be taken away)
-- Returns  1, 0 when it was something else
-- Atomic because two who change it at once must not each undo what the other did.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
