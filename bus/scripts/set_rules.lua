-- Store the rules of a namespace, or delete them.
--
-- KEYS  1 rules, 2 rules_version
-- ARGV  1 the next version, 2 most namespaces, 3 name, 4 the rules as JSON; absent: delete them
-- Returns  1 when something changed, 0 when there was nothing to delete, -1 when there is no room
-- Atomic because rules without a new version would be seen by nobody.
if not ARGV[4] then
  if redis.call('HDEL', KEYS[1], ARGV[3]) == 0 then return 0 end
  if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[2])
    return 1
  end
else
  if redis.call('HEXISTS', KEYS[1], ARGV[3]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[2]) then return -1 end
  redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
end
redis.call('SET', KEYS[2], ARGV[1])
return 1
