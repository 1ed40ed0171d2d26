-- Users of one partition follow a topic from now on.
--
-- KEYS  1 members (of the topic, in this partition), then the follows of each user
-- ARGV  1 topic, then the users
-- Returns  how many of them did not follow it before
-- Atomic because erasing a person finds by `follows` in which `members` they are.
local new = 0
for i = 2, #ARGV do
  redis.call('SADD', KEYS[i], ARGV[1])
  new = new + redis.call('ZADD', KEYS[1], 0, ARGV[i])
end
return new
