-- Users of one partition follow a topic no more.
--
-- KEYS  1 members (of the topic, in this partition), then the follows of each user
-- ARGV  1 topic, then the users
-- Returns  how many of them followed it
-- Atomic because erasing a person finds by `follows` in which `members` they are.
local gone = 0
for i = 2, #ARGV do
  gone = gone + redis.call('ZREM', KEYS[1], ARGV[i])
  redis.call('SREM', KEYS[i], ARGV[1])
end
return gone
